r"""A docker-archive as ``skopeo copy docker://... docker-archive:...`` writes it, to the byte.

dockerTools' `pullImage` runs that command, and its ``sha256`` is the checksum of the file that came
out of it. So these bytes are what existing pins hold to, and they follow skopeo's habits:

- the layers uncompressed as ``<diff ID>.tar``, each once, then the configuration as it is;
- for every layer a directory of Docker's first format: ``layer.tar``, a symlink to the layer,
  ``VERSION``, and ``json``. Its name is the hash of that ``json`` with the layer's chain ID in it
  instead of the name. The topmost ``json`` repeats parts of the configuration, in its own words but
  without blanks and with ``<``, ``>``, ``&`` and two line separators escaped, as Go writes JSON;
- ``manifest.json`` and ``repositories``, with the long form of the image's name;
- headers as Go's ``archive/tar`` writes them, and two blocks of zeros at the end, no more.

The format is that of skopeo 1.9.3, which is the oracle of the tests, and has been the same for
years: skopeo's later sources say nothing else.

>>> as_go_writes('{ "Cmd": ["a  b", "<&>"] }')
'{"Cmd":["a  b","\\u003c\\u0026\\u003e"]}'
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence

from nbdock.content import BlobStore
from nbdock.errors import ArgumentTypeError, InvalidReferenceError
from nbdock.images.archive import ArchiveMember, archive_pieces
from nbdock.oci import Descriptor, Digest, ImageConfig, Reference

__all__ = ["RECORD_BYTES", "as_go_writes", "destination", "skopeo_hash", "skopeo_members"]

RECORD_BYTES = 512
"""Go ends an archive with two blocks of zeros, and fills nothing up."""

_MAX_SIZE = 8**11
_REPEATED = ("architecture", "config", "container", "container_config", "created",
             "docker_version", "os")  # fmt: skip
_STRING_OR_BLANK = re.compile(r'"(?:[^"\\]|\\.)*"|[ \t\r\n]+', re.DOTALL)
_BLANKS = re.compile(r"[ \t\r\n]+")
_ESCAPED = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


@dataclasses.dataclass(frozen=True, slots=True)
class _Member(ArchiveMember):
    """A file, or a symlink, with a header as Go's ``archive/tar`` writes it."""

    linkname: str = ""

    @property
    def header(self) -> bytes:
        if self.size_bytes < _MAX_SIZE:
            return _header(self.name, self.size_bytes, self.linkname)
        # Names here are short and ASCII: only a size ever needs a PAX header.
        record = f" size={self.size_bytes}\n"
        length = len(record) + 2
        assert len(str(length)) == 2  # sizes have at most 19 digits
        payload = f"{length}{record}".encode()
        folder, _, name = self.name.rpartition("/")
        pax_name = "/".join(filter(None, (folder, "PaxHeaders.0", name)))
        return (
            _block(pax_name, b"%07o\0" % 0, len(payload), b"x", "", devices=b"")
            + payload
            + bytes(-len(payload) % 512)
            + _header(self.name, 0, "")
        )


def _header(name: str, size_bytes: int, linkname: str) -> bytes:
    mode, kind = (0, b"2") if linkname else (0o444, b"0")
    return _block(name, b"%07o\0" % mode, size_bytes, kind, linkname, devices=b"0000000\0" * 2)


def _block(
    name: str, mode: bytes, size_bytes: int, kind: bytes, linkname: str, *, devices: bytes
) -> bytes:
    """A header of owner 0 and the time 0; all fields up to the checksum, the rest after it."""
    before = b"%b%b%b%011o\0%b" % (
        name.encode().ljust(100, b"\0"), mode, b"0000000\0" * 2, size_bytes, b"00000000000\0",
    )  # fmt: skip
    after = kind + linkname.encode().ljust(100, b"\0") + b"ustar\x0000" + bytes(64) + devices
    after = after.ljust(512 - len(before) - 8, b"\0")
    return before + b"%06o\0 " % (sum(before) + sum(after) + 8 * ord(" ")) + after


def destination(name: str) -> Reference:
    """The name that an image is to have in the archive, completed as skopeo does.

    Raises
    ------
    ArgumentTypeError
        It is no name of an image; skopeo would refuse it.
    """
    try:
        return Reference.parse(name).with_digest(None).with_default_tag()
    except InvalidReferenceError as error:
        raise ArgumentTypeError(
            f"An image named {name!r} cannot be in an archive of skopeo's: {error.message}",
            argument="flavor",
            hint=error.hint,
        ) from error


def skopeo_members(
    layers: Sequence[Descriptor], config: ImageConfig, name: str
) -> list[ArchiveMember]:
    """The members of the archive of one image.

    Parameters
    ----------
    layers
        The uncompressed layers, lowest first.
    name
        ``name:tag``, completed as skopeo does; empty for an image without a name.
    """
    reference = destination(name) if name else None
    data = config.to_bytes()
    config_name = f"{Digest.of(data).hex}.json"
    names = [f"{layer.digest.hex}.tar" for layer in layers]
    blobs = dict(zip(names, layers, strict=True))
    legacy = list(_legacy_images(config))
    manifest = {
        "Config": config_name,
        "RepoTags": [f"{reference.name}:{reference.tag}"] if reference else [],
        "Layers": names,
    }
    repositories = {reference.name: {reference.tag: legacy[-1][0]}} if reference and legacy else {}
    members: list[ArchiveMember] = [
        _Member(name, layer.size_bytes, blob=layer.digest) for name, layer in blobs.items()
    ]
    members.append(_member(config_name, data))
    for name, (image_id, document) in zip(names, legacy, strict=True):
        members += (
            _Member(f"{image_id}/layer.tar", 0, linkname=f"../{name}"),
            _member(f"{image_id}/VERSION", b"1.0"),
            _member(f"{image_id}/json", document),
        )
    members.append(_member("manifest.json", _dumped([manifest])))
    members.append(_member("repositories", _dumped(repositories)))
    return members


def _member(name: str, data: bytes) -> ArchiveMember:
    return _Member(name, len(data), data=data)


def _dumped(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def skopeo_hash(
    store: BlobStore, members: Sequence[ArchiveMember], *, algorithm: str = "sha256"
) -> Digest:
    """The hash of the archive of these members, which is not written. Blocking."""
    hasher = Digest.of(b"", algorithm=algorithm).hasher()
    for piece in archive_pieces(store, members, record_bytes=RECORD_BYTES):
        hasher.update(piece)
    return Digest.of_hasher(hasher)


def _legacy_images(config: ImageConfig) -> Iterator[tuple[str, bytes]]:
    """For every layer its ID in Docker's first format, and its ``json``."""
    parent = ""
    chain_ids = config.chain_ids
    for position, chain_id in enumerate(chain_ids):
        fields = {"parent": f'"{parent}"'} if parent else {}
        if position == len(chain_ids) - 1:
            own = _members_of(config.to_bytes().decode())
            fields |= {key: as_go_writes(own.get(key, "null")) for key in _REPEATED}
        # The layer's own ID stands in for the name that is made of it.
        parent = Digest.of(_object({**fields, "layer_id": f'"{chain_id}"'})).hex
        yield parent, _object({**fields, "id": f'"{parent}"'})


def _object(fields: Mapping[str, str]) -> bytes:
    """A JSON object of values that are JSON already; its keys sorted, as Go sorts a map's."""
    text = ",".join(f'"{key}":{value}' for key, value in sorted(fields.items()))
    return f"{{{text}}}".encode()


def _members_of(text: str) -> dict[str, str]:
    """The members of a JSON object that is known to be valid, their values as they stand there."""
    decoder = json.JSONDecoder()
    found: dict[str, str] = {}
    at = _after_blanks(text, _after_blanks(text, 0) + 1)
    while text[at] != "}":
        key, at = decoder.raw_decode(text, at)
        start = _after_blanks(text, _after_blanks(text, at) + 1)
        _, end = decoder.raw_decode(text, start)
        found[key] = text[start:end]
        at = _after_blanks(text, end)
        if text[at] == ",":
            at = _after_blanks(text, at + 1)
    return found


def _after_blanks(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    return match.end() if match else at


def as_go_writes(text: str) -> str:
    """JSON as Go's encoder copies it: without blanks between its parts, some letters escaped."""
    compact = _STRING_OR_BLANK.sub(lambda m: m[0] if m[0][0] == '"' else "", text)
    return compact.translate(_ESCAPED)
