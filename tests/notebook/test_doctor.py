"""``%nbdock doctor``: the table, shown whole; the magic comes and goes with the extension."""

from __future__ import annotations

import pytest
from IPython.core.error import UsageError

from nbdock.requirements import Finding, Requirement, State
from nbdock.tables import checkup

LONG = 'install "' + "a-long-name " * 8 + '"'


@pytest.fixture(autouse=True)
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = (
        Requirement("one", "all", lambda: Finding(State.OK, "here")),
        Requirement("two", "some", lambda: Finding(State.ABSENT, "not here", LONG)),
    )
    monkeypatch.setattr(checkup, "REQUIREMENTS", found)


def test_the_table_is_shown_whole_and_is_a_table(cells) -> None:
    table = cells.value("%nbdock doctor")
    assert list(table["status"]) == ["ok", "optional"]
    data, _ = cells.shell.display_formatter.format(table)
    assert LONG.replace('"', "&quot;") in data["text/html"]
    assert "<style" not in data["text/html"]
    part, _ = cells.shell.display_formatter.format(table[table.status == "optional"])
    assert LONG.replace('"', "&quot;") in part["text/html"]
    assert cells.value("t = %nbdock doctor\nt.loc['two', 'fix']") == LONG
    assert cells.value("nbdock.doctor().loc['two', 'found']") == "not here"


@pytest.mark.parametrize("line", ["", "docter", "doctor please"])
def test_other_words_are_refused(cells, line: str) -> None:
    error = cells.error(f"%nbdock {line}")
    assert isinstance(error, UsageError)
    assert "`%nbdock doctor`" in str(error)


def test_unloading_takes_the_magic(cells) -> None:
    line_magics = cells.shell.magics_manager.magics["line"]
    assert "nbdock" in line_magics
    cells.run("%unload_ext nbdock")
    assert "nbdock" not in line_magics
    cells.run("%load_ext nbdock")
    assert "nbdock" in line_magics
