"""Settings from the environment and from `configure`, of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nbdock import settings
from nbdock.errors import ArgumentTypeError, UnknownArgumentError


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    settings.configure(**dict.fromkeys(settings._chosen))


def test_several_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.current().nix_caches == ("https://cache.nixos.org",)
    monkeypatch.setenv("NBDOCK_NIX_CACHES", " https://a.example.org  /srv/cache\n")
    assert settings.current().nix_caches == ("https://a.example.org", "/srv/cache")
    for value in (["x", "y"], ("x", "y"), "x y"):
        assert settings.configure(nix_caches=value).nix_caches == ("x", "y")
    settings.configure(nix_caches=None)
    assert settings.current().nix_caches == ("https://a.example.org", "/srv/cache")


@pytest.mark.parametrize("value", [3, [3], {"x": 1}, (b"x",)])
def test_what_is_no_text(value: object) -> None:
    with pytest.raises(ArgumentTypeError, match="nix_caches must be several texts"):
        settings.configure(nix_caches=value)
    assert settings.current().nix_caches == ("https://cache.nixos.org",)


def test_a_text_a_number_and_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBDOCK_NIX_CHANNEL", "/srv/list")
    monkeypatch.setenv("NBDOCK_NIX_LOOKUPS", "7")
    monkeypatch.setenv("NBDOCK_CA_FILE", "/etc/ca.pem")
    now = settings.current()
    assert (now.nix_channel, now.nix_lookups, now.ca_file) == ("/srv/list", 7, Path("/etc/ca.pem"))
    monkeypatch.setenv("NBDOCK_NIX_LOOKUPS", "many")
    with pytest.raises(
        ArgumentTypeError, match="NBDOCK_NIX_LOOKUPS must be a whole number above zero, not 'many'"
    ):
        settings.current()


def test_unknown() -> None:
    with pytest.raises(UnknownArgumentError, match="no setting 'nix_cache'") as caught:
        settings.configure(nix_cache="x")
    assert "nix_caches" in str(caught.value.hint)


def test_it_shows_what_is_not_the_default() -> None:
    assert repr(settings.Settings()) == "Settings()"
    changed = settings.Settings(registry_mirrors=("docker.io=mirror.example",), workers=3)
    assert repr(changed) == "Settings(workers=3, registry_mirrors=('docker.io=mirror.example',))"


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("workers", 0, "a whole number above zero"),
        ("workers", True, "a whole number above zero"),
        ("workers", "3", "a whole number above zero"),
        ("io_buffer_bytes", 1.5, "a whole number of bytes above zero"),
        ("silence_timeout_s", float("nan"), "a number of seconds above zero"),
        ("progress_delay_s", -1, "a number of seconds, at least 0"),
        ("max_layers_default", 1, "a whole number, at least 2"),
        ("vm_snapshots", 1, "true or false"),
        ("vm_accelerator", "xen", "auto, kvm or tcg"),
        ("nix_channel", 3, "a text"),
        ("home", 3, "a path"),
    ],
)
def test_what_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object, wanted: str
) -> None:
    with pytest.raises(ArgumentTypeError) as caught:
        settings.configure(**{name: value})
    assert caught.value.message == f"The setting {name} must be {wanted}, not {value!r}."
    assert caught.value.argument == name
    assert settings._chosen == {}


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("workers", "0", "a whole number above zero"),
        ("workers", "1.5", "a whole number above zero"),
        ("silence_timeout_s", "soon", "a number of seconds above zero"),
        ("vm_snapshots", "perhaps", "true or false"),
        ("vm_kernel", "mine", "auto, host or package"),
    ],
)
def test_what_is_refused_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, wanted: str
) -> None:
    variable = f"NBDOCK_{name.upper()}"
    monkeypatch.setenv(variable, text)
    with pytest.raises(ArgumentTypeError) as caught:
        settings.current()
    said = f"The environment variable {variable} must be {wanted}, not {text!r}."
    assert caught.value.message == said
    assert name in str(caught.value.hint)
    monkeypatch.delenv(variable)
    assert getattr(settings.current(), name) == getattr(settings.Settings(), name)


def test_what_is_meant_well() -> None:
    now = settings.configure(json_limit_bytes=1e6, home="~/x", silence_timeout_s=5)
    assert (now.json_limit_bytes, now.home) == (1_000_000, Path.home() / "x")
    assert isinstance(now.json_limit_bytes, int)
    assert settings.configure(progress_delay_s=0).progress_delay_s == 0
