"""Release files as they were last seen: asked for when old, checked when new, else believed.

A source's state is one small file in ``<home>/apt/``: a line of facts, then the checked text. It
is believed without asking the server for `settings.apt_index_max_age_s`; then the server is asked
whether it changed (one conditional request). The state counts only for the keys it was checked
with: another Signed-By, or one key more, and everything is fetched and checked again.

When a server cannot be reached, an old state that is still valid is used, with a warning in the
log, unless the user asked for fresh ones.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nbdock import settings
from nbdock.concurrency import in_worker
from nbdock.errors import (
    ConnectionFailedError,
    HttpStatusError,
    SignatureError,
    SourceConfigurationError,
)
from nbdock.packages.atomically import write_atomically
from nbdock.packages.debian.access import local_path
from nbdock.packages.debian.release import Release, check_dates
from nbdock.packages.debian.signatures import (
    read_keyring,
    read_keys,
    signed_part,
    verify_clearsigned,
    verify_detached,
)
from nbdock.packages.debian.sources import AptSources, Source
from nbdock.transport import Fetched, Transport

if TYPE_CHECKING:
    from pysequoia import Cert

__all__ = ["apt_home", "load_release"]

_log = logging.getLogger("nbdock.apt")
_VERSION = 1
# Answers that mean "no such file here": some stores refuse instead of saying that it is missing.
_ABSENT = frozenset({403, 404, 410})
_NO_FILE = "none"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _State:
    """What is known of a source's Release file; everything but `text` is the line of facts."""

    text: bytes
    trust: str
    raw_sha256: str
    etag: str
    last_modified: str
    checked_s: float
    newest_date_s: float | None

    def to_bytes(self) -> bytes:
        facts = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del facts["text"]
        return json.dumps({"version": _VERSION, **facts}).encode() + b"\n" + self.text

    @classmethod
    def read(cls, path: str) -> _State | None:
        try:
            head, _, text = Path(path).read_bytes().partition(b"\n")
            facts = json.loads(head)
            if facts.pop("version") != _VERSION:
                return None
            return cls(text=text, **facts)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            # Absent, damaged or of another version: as if nothing had been seen yet.
            return None


def apt_home() -> str:
    """The directory of everything that is kept about package sources."""
    return os.path.join(settings.current().home, "apt")


def _is_trusted(source: Source) -> bool:
    return source.trusted is True or (source.trusted is None and source.allow_insecure)


class _Keys:
    """The keys that may sign for a source: their bytes at once, parsed when they are needed."""

    def __init__(self, source: Source, sources: AptSources) -> None:
        paths = [one for one in source.signed_by if os.path.isabs(one)]
        self.fingerprints = [one for one in source.signed_by if not os.path.isabs(one)]
        self._must_parse = bool(paths or source.signed_by_key)
        self.rings: list[tuple[str, bytes]] = []
        if source.signed_by_key:
            self.rings.append((source.place, source.signed_by_key.encode()))
        if not self._must_parse:
            paths = list(sources.keyrings)
        self.rings += [(path, read_keyring(path)) for path in paths]
        mark = hashlib.sha256(repr((_is_trusted(source), sorted(self.fingerprints))).encode())
        for _, data in self.rings:
            mark.update(hashlib.sha256(data).digest())
        self.mark = mark.hexdigest()

    def parsed(self, what: str) -> list[Cert]:
        found: list[Cert] = []
        for path, data in self.rings:
            try:
                found += read_keys(data, path)
            except SourceConfigurationError:
                # One damaged file in trusted.gpg.d must not disable all others.
                if self._must_parse:
                    raise
                _log.warning("%s is not an OpenPGP keyring", path)
        if not found:
            raise SignatureError(
                f"No key is known that could vouch for {what}.",
                hint="Name the archive's keyring (Signed-By, or apt(keyring=...)), or accept it "
                "unsigned with trusted=True.",
            )
        return found


async def load_release(
    source: Source, sources: AptSources, transport: Transport, *, refresh: bool = False
) -> Release | None:
    """The Release file of a source, checked; None if a trusted source has none.

    Parameters
    ----------
    refresh
        Ask the server even if the last answer is young.

    Raises
    ------
    SignatureError
        Not signed, or not by an accepted key.
    OutdatedSourceError
        See `check_dates`.
    TransportError, SourceConfigurationError
        It cannot be had.
    """
    what = f"{source.uri} {source.suite}"
    if source.trusted is False:
        raise SignatureError(
            f"The source {what} is marked as not trusted ({source.place}).",
            hint="Remove Trusted: no, or disable the source.",
        )
    keys = await in_worker(_Keys, source, sources)
    key = hashlib.sha256(f"{source.uri}\0{source.suite}".encode()).hexdigest()[:32]
    path = os.path.join(apt_home(), f"{key}.release")
    state = await in_worker(_State.read, path)
    seen_date_s = state.newest_date_s if state else None
    if state is not None and state.trust != keys.mark:
        state = None
    age_s = time.time() - state.checked_s if state else 0.0
    is_local = local_path(source.uri) is not None
    is_young = state is not None and 0 <= age_s < settings.current().apt_index_max_age_s
    if state is None or is_local or refresh or not is_young:
        try:
            new = await _ask(source, keys, state, transport)
        except (ConnectionFailedError, HttpStatusError) as error:
            if state is None or refresh:
                raise
            _log.warning("%s cannot be asked for news; using what is known. %s", what, error)
        else:
            release = Release.parse(new.text)
            check_dates(
                release, source, sources.configuration, now_s=time.time(), seen_date_s=seen_date_s
            )
            dates = [date for date in (release.date_s, seen_date_s) if date is not None]
            new = dataclasses.replace(new, newest_date_s=max(dates, default=None))
            await in_worker(write_atomically, path, new.to_bytes())
            return None if new.raw_sha256 == _NO_FILE else release
    if state.raw_sha256 == _NO_FILE:
        return None
    release = Release.parse(state.text)
    check_dates(release, source, sources.configuration, now_s=time.time())
    return release


async def _ask(source: Source, keys: _Keys, state: _State | None, transport: Transport) -> _State:
    """Fetch InRelease, or Release with its signature, and check who signed."""
    base = source.release_url
    name = source.inrelease_path or "InRelease"
    raw = await _fetch(transport, base + name, state)
    if raw == "unchanged" and state is not None:
        return dataclasses.replace(state, checked_s=time.time())
    signature: Fetched | None = None
    if raw is None and not source.inrelease_path:
        raw = await _fetch(transport, f"{base}Release", None)
        if isinstance(raw, Fetched):
            found = await _fetch(transport, f"{base}Release.gpg", None)
            signature = found if isinstance(found, Fetched) else None
    if not isinstance(raw, Fetched):
        if _is_trusted(source):
            return _State(
                text=b"",
                trust=keys.mark,
                raw_sha256=_NO_FILE,
                etag="",
                last_modified="",
                checked_s=time.time(),
                newest_date_s=None,
            )
        raise SignatureError(
            f"{base} has no InRelease file, so nobody vouches for its packages.",
            hint="Check the URI and the suite. An archive that is not signed is used only with "
            "trusted=True ([trusted=yes] in its entry).",
        )
    second = signature.body if signature else None
    raw_sha256 = hashlib.sha256(raw.body + b"\0" + (second or b"")).hexdigest()
    if state is not None and state.raw_sha256 == raw_sha256:
        text = state.text
    else:
        text = await in_worker(_checked_text, source, keys, raw.body, second)
    return _State(
        text=text,
        trust=keys.mark,
        raw_sha256=raw_sha256,
        # A pair of files cannot be asked about with one condition.
        etag="" if signature else raw.etag,
        last_modified="" if signature else raw.last_modified,
        checked_s=time.time(),
        newest_date_s=None,
    )


def _checked_text(source: Source, keys: _Keys, body: bytes, signature: bytes | None) -> bytes:
    what = f"{source.uri} {source.suite}"
    if _is_trusted(source):
        return signed_part(body) or body
    is_clearsigned = body.lstrip().startswith(b"-----BEGIN PGP SIGNED MESSAGE-----")
    if signature is None and not is_clearsigned:
        raise SignatureError(
            f"{what} is not signed.",
            hint="It is used only with trusted=True ([trusted=yes] in its entry).",
        )
    certificates = keys.parsed(what)
    try:
        if is_clearsigned:
            signed = verify_clearsigned(body, certificates, fingerprints=keys.fingerprints)
        else:
            signed = verify_detached(
                body, signature or b"", certificates, fingerprints=keys.fingerprints
            )
    except SignatureError as error:
        raise SignatureError(f"{what}: {error.message}", hint=error.hint) from error
    return signed.text


async def _fetch(transport: Transport, url: str, state: _State | None) -> Fetched | str | None:
    """The file; "unchanged" since `state`; or None if there is none."""
    path = local_path(url)
    limit = settings.current().json_limit_bytes
    if path is not None:
        try:
            body = await in_worker(Path(path).read_bytes)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise SourceConfigurationError(
                f"{path} cannot be read: {error.strerror}.", path=path
            ) from error
        return Fetched(body, url, "", "")
    if not url.startswith(("http://", "https://")):
        scheme = url.partition(":")[0]
        raise SourceConfigurationError(
            f"The source {url} uses {scheme}:, which nbdock does not know.",
            hint="http:, https:, file: and copy: are known. Disable the source, or name the "
            "mirror: apt(mirror=...).",
        )
    try:
        fetched = await transport.fetch(
            url,
            limit_bytes=limit,
            etag=state.etag if state else "",
            last_modified=state.last_modified if state else "",
        )
    except HttpStatusError as error:
        if error.status in _ABSENT:
            return None
        raise
    return "unchanged" if fetched is None else fetched
