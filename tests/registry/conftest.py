"""Registries of every kind, and one that misbehaves as told.

Fixtures
--------
store
    An empty blob store.
login_registry, token_registry, tls_registry
    Real registries that want a login, a token, or an own authority trusted; once per worker.
fake
    A `FaultyServer` to script; `support.fake_registry` puts images there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support.certificates import Authority
from support.fake_registry import PASSWORD, USER, WithAuthority, WithTokens
from support.faulty_server import FaultyServer
from support.registry import Registry, docker_registry, login_config, tls_config
from support.token_server import token_server

from nbdock.content import BlobStore


@pytest.fixture(autouse=True)
def _no_logins_and_no_waiting(
    clean_environment: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr("nbdock.transport.pauses._FIRST_S", 0.001)


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store")


@pytest.fixture(scope="session")
def login_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    directory = tmp_path_factory.mktemp("login-registry")
    config = login_config(directory, USER, PASSWORD)
    with docker_registry(directory, config=config, login=(USER, PASSWORD)) as running:
        yield running


@pytest.fixture(scope="session")
def token_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WithTokens]:
    directory = tmp_path_factory.mktemp("token-registry")
    with token_server(directory, {USER: PASSWORD}) as tokens:
        # What tests need to be there is put there before tokens are wanted.
        with docker_registry(directory) as plain:
            for repository in ("public/app", "private/app", "private/other"):
                plain.push(repository, "1")
        with docker_registry(directory, config=tokens.registry_config()) as running:
            yield WithTokens(running, tokens)


@pytest.fixture(scope="session")
def tls_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WithAuthority]:
    directory = tmp_path_factory.mktemp("tls-registry")
    authority = Authority(directory / "authority")
    config = tls_config(authority, "127.0.0.1", "localhost")
    with docker_registry(
        directory, config=config, scheme="https", ca_file=authority.ca_file
    ) as running:
        running.push("tls/app", "1")
        yield WithAuthority(running, authority)


@pytest.fixture
async def fake() -> AsyncIterator[FaultyServer]:
    async with FaultyServer() as running:
        yield running
