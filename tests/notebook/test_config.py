"""``%config NbdockSettings``: what it shows, sets, refuses and completes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from nbdock import settings
from nbdock.notebook.config import NbdockSettings

NAMES = [field.name for field in dataclasses.fields(settings.Settings)]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    settings.configure(**dict.fromkeys(settings._chosen))


def test_all_settings_with_what_they_mean(cells, capsys: pytest.CaptureFixture[str]) -> None:
    cells.value("%config NbdockSettings.max_layers_default = 40")
    cells.value("%config NbdockSettings")
    shown = capsys.readouterr().out
    assert [line for line in shown.split("\n") if line.startswith("NbdockSettings.")] == [
        f"NbdockSettings.{field.name}=<{field.type}>"
        for field in dataclasses.fields(settings.Settings)
    ]
    assert (
        "    Layers of a layered image when `maxLayers` is not given. Count.\n"
        "    Default: 100\n    Current: 40\n"
    ) in shown
    assert shown.startswith("NbdockSettings options\n----------------------\n")
    assert "    Default: 30.0\n" in shown
    # None of them is without words.
    assert shown.count("Default: ") == len(NAMES)
    assert ">\n    Default" not in shown


def test_a_setting(cells, monkeypatch: pytest.MonkeyPatch) -> None:
    cells.value("least = 7\n%config NbdockSettings.max_layers_default = least")
    assert settings.current().max_layers_default == 7
    assert cells.value("%config NbdockSettings.max_layers_default") == 7
    cells.value("%config NbdockSettings.max_layers_default = None")
    monkeypatch.setenv("NBDOCK_MAX_LAYERS_DEFAULT", "9")
    assert cells.value("%config NbdockSettings.max_layers_default") == 9


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("max_layer_default = 40",
         "There is no setting 'max_layer_default'. Did you mean max_layers_default?"),
        ("max_layers_default = 1",
         "The setting max_layers_default must be a whole number, at least 2, not 1."),
        ("silence_timeout_s = '5'",
         "The setting silence_timeout_s must be a number of seconds above zero, not '5'."),
        ("json_limit_bytes = 1.5",
         "The setting json_limit_bytes must be a whole number of bytes above zero, not 1.5."),
    ],
)  # fmt: skip
def test_what_is_refused(cells, caplog: pytest.LogCaptureFixture, line: str, said: str) -> None:
    cells.value(f"%config NbdockSettings.{line}")
    assert [record.getMessage() for record in caplog.records] == [said]
    assert settings._chosen == {}


def test_a_name_that_is_none(cells) -> None:
    assert str(cells.error("%config NbdockSettings.wrokers")) == (
        "There is no setting 'wrokers'. Did you mean workers?"
    )


def test_in_a_file_of_ipythons(cells, caplog: pytest.LogCaptureFixture) -> None:
    """As ``ipython_config.py`` has it: known before the extension is."""
    cells.shell.config.NbdockSettings.workers = 3
    cells.value("%reload_ext nbdock")
    assert settings.current().workers == 3
    cells.shell.config.NbdockSettings.wrokers = 3
    cells.value("%reload_ext nbdock")
    assert [record.getMessage() for record in caplog.records] == [
        "There is no setting 'wrokers'. Did you mean workers?"
    ]


def test_it_comes_and_goes_with_the_extension(cells) -> None:
    def count() -> int:
        return sum(isinstance(each, NbdockSettings) for each in cells.shell.configurables)

    assert count() == 1
    cells.value("%reload_ext nbdock")
    assert count() == 1
    cells.value("%unload_ext nbdock")
    assert count() == 0
