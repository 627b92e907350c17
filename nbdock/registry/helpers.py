"""Credential helpers: programs ``docker-credential-<name>`` that keep logins for Docker and Podman.

``docker-credential-<name> get`` reads the server's name from its standard input and writes
``{"Username": ..., "Secret": ...}``; the user ``<token>`` means that the secret is an identity
token. It ends with 1 and says "credentials not found" if it has none.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal

from nbdock import settings
from nbdock.errors import InvalidManifestError
from nbdock.oci import load_json
from nbdock.registry.answers import printable
from nbdock.registry.authfiles import Found, Login

__all__ = ["ask_helper"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")
_ANSWER_LIMIT_BYTES = 1 << 20
_NOT_FOUND = "credentials not found"
_IDENTITY_USER = "<token>"


async def ask_helper(name: str, server: str, *, source: str) -> Found:
    """The login that a helper has for a server.

    Parameters
    ----------
    name
        Its name without ``docker-credential-``.
    source
        The file that names it, for errors.
    """
    program = f"docker-credential-{name}"
    # A slash in it would run any program.
    if not _NAME.fullmatch(name):
        return _failed(f"{source} names a credential helper {name[:40]!r}, which is not a name.")
    if "\n" in server:
        return Found(None)
    limit_s = settings.current().credential_helper_timeout_s
    try:
        code, answer = await asyncio.wait_for(_run(program, server), limit_s)
    except FileNotFoundError:
        return _failed(f"{source} names the credential helper {program}, which is not installed.")
    except TimeoutError:  # an OSError, as Python has it
        return _failed(f"The credential helper {program} did not answer in {limit_s:.0f} seconds.")
    except OSError as error:
        return _failed(f"The credential helper {program} cannot be run: {error.strerror}.")
    text = answer.decode("utf-8", "replace").strip()
    if code:
        if _NOT_FOUND in text.lower():
            return Found(None)
        shown = printable(text, 200) or f"exit code {code}"
        return _failed(f"The credential helper {program} failed: {shown}.")
    try:
        fields = load_json(answer, "the answer of a credential helper").fields()
        user, secret = fields.text("Username"), fields.text("Secret")
    except InvalidManifestError:
        # Not quoted: it may hold the secret.
        return _failed(f"The credential helper {program} did not answer in JSON.")
    if not secret:
        return Found(None)
    if user == _IDENTITY_USER:
        return Found(Login(identity_token=secret, source=program))
    return Found(Login(user, secret, source=program))


def _failed(problem: str) -> Found:
    return Found(None, (problem,))


async def _run(program: str, server: str) -> tuple[int, bytes]:
    """Run a helper; its exit code and its answer. However this ends, the helper is gone."""
    process = await asyncio.create_subprocess_exec(
        program,
        "get",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        # It may start programs of its own; they end with it.
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with contextlib.suppress(ConnectionError):
            process.stdin.write(server.encode() + b"\n")
            await process.stdin.drain()
        process.stdin.close()
        answer = bytearray()
        while len(answer) <= _ANSWER_LIMIT_BYTES and (piece := await process.stdout.read(1 << 16)):
            answer += piece
        if len(answer) > _ANSWER_LIMIT_BYTES:
            raise TimeoutError
        return await process.wait(), bytes(answer)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())
        raise
