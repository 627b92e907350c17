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
    with pytest.raises(ArgumentTypeError, match="not a number"):
        settings.current()


def test_unknown() -> None:
    with pytest.raises(UnknownArgumentError, match="no setting 'nix_cache'") as caught:
        settings.configure(nix_cache="x")
    assert "nix_caches" in str(caught.value.hint)


def test_it_shows_what_is_not_the_default() -> None:
    assert repr(settings.Settings()) == "Settings()"
    changed = settings.Settings(registry_mirrors=("docker.io=mirror.example",), workers=3)
    assert repr(changed) == "Settings(workers=3, registry_mirrors=('docker.io=mirror.example',))"
