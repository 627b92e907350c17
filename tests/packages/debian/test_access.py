"""Proxies, logins and local paths of an APT configuration."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbdock.errors import SourceConfigurationError
from nbdock.packages.debian.access import host_logins, local_path, parse_logins, proxies
from nbdock.packages.debian.configuration import host_configuration, parse_configuration

LOGINS = """# for two archives
machine one.test login me password secret
machine http://two.test:8080/deb/ login you
    password hidden
machine three.test/debian
login only
"""


@pytest.mark.parametrize(
    ("url", "user"),
    [
        ("https://one.test/x", "me"),
        ("https://one.test:8443/x", "me"),
        ("http://one.test/x", None),
        ("https://not-one.test/x", None),
        ("https://one.test.evil/x", None),
        ("http://two.test:8080/deb/x", "you"),
        ("http://two.test:8080/other", None),
        ("http://two.test/deb/x", None),
        ("https://two.test:8080/deb/x", None),
        ("https://three.test/debian/dists", "only"),
        ("https://three.test/ubuntu", None),
    ],
)
def test_logins(url: str, user: str | None) -> None:
    fitting = [login.user for login in parse_logins(LOGINS, "auth.conf") if login.fits(url)]
    assert fitting == ([user] if user else [])


def test_passwords_are_not_shown() -> None:
    assert "secret" not in repr(parse_logins(LOGINS, "auth.conf"))


def test_a_login_without_anything() -> None:
    with pytest.raises(SourceConfigurationError, match=r"auth\.conf.*one\.test"):
        parse_logins("machine one.test", "auth.conf")


def test_files_of_logins(tmp_path: Path) -> None:
    folder = tmp_path / "etc/apt/auth.conf.d"
    folder.mkdir(parents=True)
    (folder.parent / "auth.conf").write_text("machine a login 1")
    (folder / "b.conf").write_text("machine b login 2")
    (folder / "c.txt").write_text("machine c login 3")
    found = host_logins(host_configuration(str(tmp_path)))
    assert [login.user for login in found] == ["1", "2"]


def test_proxies() -> None:
    text = (
        'Acquire { http::Proxy "http://p:1"; http::Proxy::Near.test "DIRECT"; '
        'https::Proxy "q:2"; };'
    )
    assert proxies(parse_configuration(text)) == {
        "http://": "http://p:1",
        "http://near.test": None,
        "https://": "http://q:2",
        "https://near.test": None,
    }
    assert proxies(parse_configuration("")) == {}


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:/srv/a", "/srv/a"),
        ("file:///srv/a%20b", "/srv/a b"),
        ("file://localhost/srv/a", "/srv/a"),
        ("copy:/srv/../etc/a", "/etc/a"),
        ("FILE:/srv", "/srv"),
        ("http://file/srv", None),
        ("https://x", None),
    ],
)
def test_local_paths(url: str, path: str | None) -> None:
    assert local_path(url) == path
    assert path is None or os.path.isabs(path)
