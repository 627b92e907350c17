"""Logins from the files and helpers of Docker and Podman; podman itself is the oracle."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.registry import Registry

from nbdock.registry import Credentials, Login
from nbdock.registry.authfiles import place_of, read_auth_file
from nbdock.registry.credentials import auth_paths


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def write(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


async def login(credentials: Credentials, name: str) -> Login | None:
    registry, _, repository = name.partition("/")
    return (await credentials.find(registry, repository or "a/b")).login


def helper(directory: Path, name: str, script: str) -> None:
    """Make a credential helper; `script` is Python, ``server`` is what it was asked about."""
    file = directory / f"docker-credential-{name}"
    file.write_text(
        f"#!{sys.executable} -SE\n"
        "import json, os, sys, time\n"
        "assert sys.argv[1:] == ['get']\n"
        "server = sys.stdin.read().strip()\n" + script
    )
    file.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return directory


async def test_the_longest_place_wins(tmp_path: Path) -> None:
    file = write(
        tmp_path / "auth.json",
        {
            "auths": {
                "quay.io": {"auth": encoded("all:1")},
                "quay.io/team": {"auth": encoded("team:2")},
                "quay.io/team/app": {"auth": encoded("app:3:with:colons")},
                "localhost:5000": {"auth": encoded("local:4")},
            }
        },
    )
    found = Credentials(files=[file])
    for name, user in {
        "quay.io/other": "all", "quay.io/team": "team", "quay.io/team/b": "team",
        "quay.io/team/app": "app", "quay.io/team/app/c": "app", "quay.io/teams": "all",
        "localhost:5000/x": "local",
    }.items():  # fmt: skip
        got = await login(found, name)
        assert got is not None
        assert got.user == user
    for name in ("localhost/x", "localhost:50/x", "evil-quay.io/team/app", "io/team"):
        assert await login(found, name) is None
    got = await login(found, "quay.io/team/app")
    assert got is not None
    assert got.password == "3:with:colons"


@pytest.mark.parametrize(
    "key",
    ["https://index.docker.io/v1/", "https://index.docker.io/v1", "docker.io", "index.docker.io",
     "registry-1.docker.io", "https://index.docker.io/v2/", "http://docker.io", "DOCKER.io"],
)  # fmt: skip
async def test_names_of_docker_hub(tmp_path: Path, key: str) -> None:
    file = write(tmp_path / "config.json", {"auths": {key: {"auth": encoded("me:x\0")}}})
    got = await login(Credentials(files=[file]), "docker.io/library/redis")
    assert got == Login("me", "x", source=str(file))


async def test_keys_of_tokens_are_no_logins_for_the_hub(tmp_path: Path) -> None:
    keys = ("https://index.docker.io/v1/access-token", "https://index.docker.io/v1/refresh-token")
    file = write(tmp_path / "config.json", {"auths": {k: {"auth": encoded("t:t")} for k in keys}})
    assert await login(Credentials(files=[file]), "docker.io/library/redis") is None


async def test_kinds_of_entries(tmp_path: Path) -> None:
    file = write(
        tmp_path / "config.json",
        {
            "auths": {
                "https://a.example/v2/": {"username": "u", "password": "p"},
                "b.example": {"auth": encoded("x:"), "identitytoken": "id"},
                "c.example": {"auth": encoded("<token>:id2")},
                "d.example": {"registrytoken": "bearer"},
                "e.example": {},
                "f.example": {"auth": "!!"},
                "g.example": {"auth": encoded("no colon")},
                "h.example": None,
            }
        },
    )
    found = Credentials(files=[file])
    assert await login(found, "a.example") == Login("u", "p", source=str(file))
    b, c, d = [await login(found, f"{letter}.example") for letter in "bcd"]
    assert b is not None
    assert c is not None
    assert d is not None
    assert (b.identity_token, c.identity_token, c.password) == ("id", "id2", "")
    assert d.registry_token == "bearer"
    for letter in "efgh":
        assert await login(found, f"{letter}.example") is None


@pytest.mark.parametrize(
    "text",
    ["", "  ", "{", "[]", '{"auths": 1}', '{"auths": {"a": 1}}', '{"auths": {"a": {"auth": 5}}}',
     '{"auths": {"q": {"auth": "x"}, "q": {"auth": "y"}}}', "[" * 10000, "\ufeff{}", "\xff",
     '{"credHelpers": {"a": 1}}', '{"credsStore": []}'],
)  # fmt: skip
async def test_damaged_files_are_told_and_nothing_more(tmp_path: Path, text: str) -> None:
    bad = tmp_path / "bad.json"
    bad.write_bytes(text.encode("latin-1" if text == "\xff" else "utf-8"))
    good = write(tmp_path / "good.json", {"auths": {"quay.io": {"auth": encoded("me:x")}}})
    found = await Credentials(files=[bad, good]).find("quay.io", "a")
    assert found.login is not None
    problem = read_auth_file(str(bad)).problem
    assert not problem or str(bad) in problem


def test_what_is_no_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path / "none", tmp_path / "none" / "x", pipe, tmp_path):
        assert read_auth_file(str(path)).logins == {}
    large = write(tmp_path / "large", " " * (5 << 20))
    assert "too large" in read_auth_file(str(large)).problem


def test_where_files_are() -> None:
    assert auth_paths({"REGISTRY_AUTH_FILE": "/r", "HOME": "/h"}) == (
        "/r",
        "/h/.docker/config.json",
    )
    assert auth_paths(
        {"XDG_RUNTIME_DIR": "/x", "XDG_CONFIG_HOME": "/c", "DOCKER_CONFIG": "/d", "HOME": "/h"}
    ) == ("/x/containers/auth.json", "/c/containers/auth.json", "/d/config.json")
    assert auth_paths({"HOME": "/h"}) == (
        f"/run/containers/{os.getuid()}/auth.json",
        "/h/.config/containers/auth.json",
        "/h/.docker/config.json",
    )


async def test_the_order_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def put(path: Path, user: str) -> None:
        write(path, {"auths": {"quay.io": {"auth": encoded(f"{user}:x")}}})

    async def user() -> str:
        got = await login(Credentials.default(), "quay.io")
        return got.user if got else ""

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    assert await user() == ""
    put(tmp_path / "home/.docker/config.json", "docker")
    assert await user() == "docker"
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "dc"))
    assert await user() == ""
    put(tmp_path / "dc/config.json", "elsewhere")
    assert await user() == "elsewhere"
    put(tmp_path / "home/.config/containers/auth.json", "config")
    assert await user() == "config"
    put(tmp_path / "run/containers/auth.json", "podman")
    assert await user() == "podman"
    put(tmp_path / "named.json", "named")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "named.json"))
    assert await user() == "named"
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "none.json"))
    assert await user() == "elsewhere"


async def test_what_podman_writes(
    login_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "auth.json"
    assert login_registry.login is not None
    user, password = login_registry.login
    subprocess.run(
        ["skopeo", "login", "--authfile", file, "--tls-verify=false", "-u", user,
         "--password-stdin", login_registry.host],
        input=password.encode(), check=True, capture_output=True,
    )  # fmt: skip
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(file))
    got = await login(Credentials.default(), f"{login_registry.host}/a")
    assert got == Login(user, password, source=str(file))


async def test_a_given_login() -> None:
    mine = Credentials("me", "SECRET", registry="ghcr.io")
    assert await login(mine, "ghcr.io/a") == Login(
        "me", "SECRET", source="the login that was given"
    )
    assert await login(mine, "docker.io/a") is None
    anywhere = Credentials("me", "SECRET")
    assert (await anywhere.find("ghcr.io", "a")).login is not None
    assert (await anywhere.find("ghcr.io", "a", is_mirror=True)).login is None
    assert await login(Credentials.none(), "ghcr.io/a") is None
    shown = repr(mine) + repr(anywhere) + repr(await mine.find("ghcr.io", "a"))
    assert "SECRET" not in shown


# Helpers


async def test_a_helper(tmp_path: Path, programs: Path) -> None:
    helper(programs, "x-1", "print(json.dumps({'Username': 'of ' + server, 'Secret': 's'}))")
    file = write(
        tmp_path / "config.json",
        {
            "auths": {"quay.io": {"auth": encoded("file:1")}, "other.example": {}},
            "credHelpers": {"ghcr.io": "x-1", "quay.io/team": "x-1"},
        },
    )
    found = Credentials(files=[file])
    for name, user in {
        "ghcr.io/a": "of ghcr.io", "quay.io/team/app": "of quay.io/team", "quay.io/b": "file",
    }.items():  # fmt: skip
        got = await login(found, name)
        assert got is not None
        assert got.user == user
    assert await login(found, "other.example/a") is None


async def test_a_store_for_every_registry(tmp_path: Path, programs: Path) -> None:
    script = (
        "if 'none' in server: print('credentials not found in native keychain'); sys.exit(1)\n"
        "if 'token' in server: print(json.dumps({'Username': '<token>', 'Secret': 'id'}))\n"
        "else: print(json.dumps({'ServerURL': server, 'Username': server, 'Secret': 's'}))"
    )
    helper(programs, "all", script)
    helper(programs, "one", "print(json.dumps({'Username': 'one', 'Secret': 's'}))")
    file = write(
        tmp_path / "config.json",
        {
            "auths": {"none.example": {"auth": encoded("file:1")}},
            "credsStore": "all",
            "credHelpers": {"one.example": "one"},
        },
    )
    found = Credentials(files=[file])
    hub = await login(found, "docker.io/library/redis")
    assert hub == Login("https://index.docker.io/v1/", "s", source="docker-credential-all")
    token = await login(found, "token.example/a")
    assert token is not None
    assert (token.user, token.identity_token) == ("", "id")
    assert (await login(found, "none.example/a")) == Login("file", "1", source=str(file))
    one = await login(found, "one.example/a")
    assert one is not None
    assert one.user == "one"


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("print('SECRET'); sys.exit(3)", "failed: SECRET"),
        ("print('not json SECRET')", "did not answer in JSON"),
        ("print(json.dumps({'Username': 1}))", "did not answer in JSON"),
        ("print('\\x1b[31m\\nx' * 999); sys.exit(1)", "failed: [31m x"),
        ("os.kill(os.getpid(), 9)", "failed: exit code -9"),
        ("while True: print('x' * 65536)", "did not answer"),
        ("time.sleep(60)", "did not answer in"),
    ],
)
async def test_a_helper_that_fails(
    tmp_path: Path, programs: Path, configured: Any, script: str, problem: str
) -> None:
    ends = "while True" not in script and "sleep" not in script
    configured(credential_helper_timeout_s=240 if ends else 0.3)
    helper(programs, "bad", script)
    file = write(tmp_path / "config.json", {"credsStore": "bad"})
    found = await Credentials(files=[file]).find("quay.io", "a")
    assert found.login is None
    assert problem in found.problems[0]
    assert found.problems[0].isprintable()


async def test_helpers_that_are_not_there(tmp_path: Path, programs: Path) -> None:
    evil = programs / "evil"
    evil.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran")
    evil.chmod(0o755)
    plain = programs / "docker-credential-plain"
    plain.write_text("x")
    plain.chmod(stat.S_IRUSR)
    for name, problem in {
        "missing": "is not installed",
        "x/../../../../../../.." + str(evil): "is not a name",
        "../evil": "is not a name",
        "a b": "is not a name",
        "": "",
    }.items():
        file = write(tmp_path / "config.json", {"credsStore": name})
        found = await Credentials(files=[file]).find("quay.io", "a")
        assert found.login is None
        assert problem in "".join(found.problems)
    assert not (tmp_path / "ran").exists()


async def test_a_cancelled_helper_is_gone(tmp_path: Path, programs: Path) -> None:
    pid = tmp_path / "pid"
    helper(
        programs, "slow",
        f"open({str(pid)!r}, 'w').write(str(os.getpid()) + '\\n')\ntime.sleep(600)",
    )  # fmt: skip
    file = write(tmp_path / "config.json", {"credsStore": "slow"})
    task = asyncio.ensure_future(Credentials(files=[file]).find("quay.io", "a"))
    deadline = time.monotonic() + 240
    while not (pid.exists() and pid.read_text().endswith("\n")):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


async def test_nothing_is_asked_twice(tmp_path: Path, programs: Path) -> None:
    log = tmp_path / "log"
    helper(
        programs, "log",
        f"open({str(log)!r}, 'a').write('x')\n"
        "print(json.dumps({'Username': 'u', 'Secret': 's'}))",
    )  # fmt: skip
    file = write(tmp_path / "config.json", {"credsStore": "log"})
    found = Credentials(files=[file])
    await asyncio.gather(*(found.find("quay.io", "a") for _ in range(5)))
    assert log.read_text() == "x"


def test_one_for_several_event_loops(tmp_path: Path, programs: Path) -> None:
    helper(programs, "two", "print(json.dumps({'Username': 'u', 'Secret': 's'}))")
    found = Credentials(files=[write(tmp_path / "config.json", {"credsStore": "two"})])

    async def many(registry: str) -> None:
        await asyncio.gather(*(found.find(registry, "a") for _ in range(3)))

    for registry in ("quay.io", "ghcr.io"):
        asyncio.run(many(registry))


def test_places() -> None:
    assert place_of(" https://Ghcr.io/ ") == "ghcr.io"
    assert place_of("https://ghcr.io/v2/a") == "ghcr.io/v2/a"
    assert place_of("localhost:5000") == "localhost:5000"
