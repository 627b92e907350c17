"""Every error that nbdock raises, as one tree.

An error says what happened, where, and what to do next: the first line of the message is the
fact, `hint` is the next step. The data a caller needs to react stands in attributes.

    NbdockError
    ├── CellError                     a notebook cell: line, column, source line
    │   ├── CellSyntaxError
    │   └── CellEvaluationError
    │       └── UndefinedNameError
    ├── ArgumentError                 what a function was called with
    │   ├── UnknownArgumentError
    │   ├── MissingArgumentError
    │   ├── ArgumentTypeError
    │   └── LayerLimitError
    ├── InvalidValueError             text that is not the value it claims to be
    │   ├── InvalidDigestError
    │   ├── InvalidReferenceError
    │   ├── InvalidPlatformError
    │   ├── InvalidManifestError
    │   └── InvalidStorePathError
    ├── ArchiveError                  bytes of a tar, ar or image archive
    │   ├── TruncatedArchiveError
    │   ├── UnsafePathError
    │   └── CodecError
    ├── ContentError                  the blob store
    │   ├── BlobNotFoundError
    │   ├── DigestMismatchError
    │   ├── SizeMismatchError
    │   └── StorageFullError
    ├── ImageNotFoundError            no such image in an archive, the store or an engine
    ├── PackageError                  package sets
    │   ├── PackageNotFoundError
    │   ├── UnresolvableError
    │   ├── SourceConfigurationError
    │   ├── SignatureError
    │   ├── BinaryCacheError
    │   ├── NixError
    │   └── OutdatedSourceError
    ├── TransportError                bytes over HTTP
    │   ├── HttpStatusError
    │   └── ConnectionFailedError
    │       └── UntrustedCertificateError
    ├── RegistryError                 what a registry answered
    │   ├── AuthenticationError
    │   ├── ManifestNotFoundError
    │   │   └── RepositoryNotFoundError
    │   ├── PlatformNotFoundError
    │   ├── UnsupportedManifestError
    │   ├── UnsafeDestinationError
    │   └── UploadError
    ├── CommandError                  a build command that failed
    ├── EngineError                   a Docker or Podman engine
    ├── VmError                       virtual machines
    │   ├── GuestPartError
    │   ├── LayerDiskError
    │   ├── GuestBootError
    │   ├── GuestTimeoutError
    │   ├── GuestPanicError
    │   ├── GuestMemoryError
    │   ├── GuestDiskFullError
    │   ├── GuestStoppedError
    │   └── GuestProtocolError
    └── UnavailableError              a component this machine lacks, or a part not built yet
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "ArchiveError",
    "ArgumentError",
    "ArgumentTypeError",
    "AuthenticationError",
    "BinaryCacheError",
    "BlobNotFoundError",
    "CellError",
    "CellEvaluationError",
    "CellSyntaxError",
    "CodecError",
    "CommandError",
    "ConnectionFailedError",
    "ContentError",
    "DigestMismatchError",
    "EngineError",
    "GuestBootError",
    "GuestDiskFullError",
    "GuestMemoryError",
    "GuestPanicError",
    "GuestPartError",
    "GuestProtocolError",
    "GuestStoppedError",
    "GuestTimeoutError",
    "HttpStatusError",
    "ImageNotFoundError",
    "InvalidDigestError",
    "InvalidManifestError",
    "InvalidPlatformError",
    "InvalidReferenceError",
    "InvalidStorePathError",
    "InvalidValueError",
    "LayerDiskError",
    "LayerLimitError",
    "ManifestNotFoundError",
    "MissingArgumentError",
    "NbdockError",
    "NixError",
    "OutdatedSourceError",
    "PackageError",
    "PackageNotFoundError",
    "PlatformNotFoundError",
    "RegistryError",
    "RepositoryNotFoundError",
    "SignatureError",
    "SizeMismatchError",
    "SourceConfigurationError",
    "StorageFullError",
    "TransportError",
    "TruncatedArchiveError",
    "UnavailableError",
    "UndefinedNameError",
    "UnknownArgumentError",
    "UnresolvableError",
    "UnsafeDestinationError",
    "UnsafePathError",
    "UnsupportedManifestError",
    "UntrustedCertificateError",
    "UploadError",
    "VmError",
    "nearest",
]  # fmt: skip


class NbdockError(Exception):
    """The root of the tree.

    Parameters
    ----------
    message
        What happened and where, as one sentence.
    hint
        What to do next, as one sentence; shown after the message.

    Attributes
    ----------
    argument
        Which argument of the call it is about, by its Python name; empty if that is not known.
    place
        Where it is in the text of a cell, if that is known and the error does not say it itself.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.argument = ""
        self.place: CellError | None = None

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class CellError(NbdockError):
    """A cell's text is wrong at a place: `line` and `column` count from 1, `source` is the text."""

    def __init__(
        self, message: str, *, source: str, line: int, column: int, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.source = source
        self.line = line
        self.column = column

    @property
    def source_line(self) -> str:
        """The line of the cell that the error is about, without its newline."""
        lines = self.source.splitlines()
        return lines[self.line - 1] if 0 < self.line <= len(lines) else ""

    @property
    def pointed_at(self) -> str:
        """The line, and below it a caret at the column."""
        shown = self.source_line
        # Tabs stay tabs under the line, so that the caret stands below the character it means.
        pad = "".join("\t" if c == "\t" else " " for c in shown[: self.column - 1])
        return f"  {shown}\n  {pad}^"

    def __str__(self) -> str:
        text = f"{self.message} (line {self.line}, column {self.column})\n{self.pointed_at}"
        return f"{text}\n{self.hint}" if self.hint else text


class CellSyntaxError(CellError):
    """The cell is not in the cells' language."""


class CellEvaluationError(CellError):
    """The cell parses, but a part of it has no value."""


class UndefinedNameError(CellEvaluationError):
    """A name that neither the cell, the notebook nor nbdock defines; `name` is it."""

    def __init__(
        self, message: str, *, name: str, source: str, line: int, column: int,
        hint: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message, source=source, line=line, column=column, hint=hint)
        self.name = name


class ArgumentError(NbdockError):
    """A function was called with something it cannot use; `argument` names it."""

    def __init__(self, message: str, *, argument: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.argument = argument


class UnknownArgumentError(ArgumentError):
    """No such argument; the hint names the nearest."""


class MissingArgumentError(ArgumentError):
    """A required argument was not given."""


class ArgumentTypeError(ArgumentError):
    """An argument has the wrong type or a value outside what is allowed."""


class LayerLimitError(ArgumentError):
    """More layers were asked for than an image can hold, or fewer than the base already has."""


class InvalidValueError(NbdockError):
    """Text or bytes that are not the value they claim to be; `value` is what was given."""

    def __init__(self, message: str, *, value: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.value = value


class InvalidDigestError(InvalidValueError):
    """Not a digest (`algorithm:hex`)."""


class InvalidReferenceError(InvalidValueError):
    """Not an image reference (`host/name:tag@digest`)."""


class InvalidPlatformError(InvalidValueError):
    """Not a platform (`os/architecture/variant`)."""


class InvalidManifestError(InvalidValueError):
    """A document that breaks its specification; `path` is where in it (``$.layers[0].size``)."""

    def __init__(
        self, message: str, *, path: str = "", value: str = "", hint: str | None = None
    ) -> None:
        super().__init__(message, value=value, hint=hint)
        self.path = path


class InvalidStorePathError(InvalidValueError):
    """A text that is not the path of an object in a Nix store."""


class ArchiveError(NbdockError):
    """An archive cannot be read; `offset` is the byte where, if known."""

    def __init__(self, message: str, *, offset: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.offset = offset


class TruncatedArchiveError(ArchiveError):
    """The archive ends before its content does."""


class UnsafePathError(ArchiveError):
    """A name in an archive leads outside the tree; `path` is the name as it stands there."""

    def __init__(
        self, message: str, *, path: bytes, offset: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, offset=offset, hint=hint)
        self.path = path


class CodecError(ArchiveError):
    """Compressed bytes that do not decompress."""


class ContentError(NbdockError):
    """The blob store; `digest` (as text) and `path` say which blob or file, if known."""

    def __init__(
        self, message: str, *, digest: str = "", path: str = "", hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.digest = digest
        self.path = path


class BlobNotFoundError(ContentError):
    """No blob of that digest in the store."""


class DigestMismatchError(ContentError):
    """Bytes whose digest is not the one they were announced with; `actual` is what they have."""

    def __init__(
        self, message: str, *, digest: str, actual: str, path: str = "", hint: str | None = None
    ) -> None:
        super().__init__(message, digest=digest, path=path, hint=hint)
        self.actual = actual


class SizeMismatchError(ContentError):
    """Bytes that are fewer or more than announced: `expected_bytes` and `actual_bytes`."""

    def __init__(
        self, message: str, *, expected_bytes: int, actual_bytes: int,
        digest: str = "", path: str = "", hint: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message, digest=digest, path=path, hint=hint)
        self.expected_bytes = expected_bytes
        self.actual_bytes = actual_bytes


class StorageFullError(ContentError):
    """The disk is full; nothing half-written was left."""


class ImageNotFoundError(NbdockError):
    """No such image in an archive, in the store or in an engine; `available` is what there is."""

    def __init__(
        self, message: str, *, available: tuple[str, ...] = (), hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.available = available


class PackageError(NbdockError):
    """A package set; `package` names the package, if it is about one."""

    def __init__(self, message: str, *, package: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.package = package


class PackageNotFoundError(PackageError):
    """No package of that name; the hint names the nearest."""


class UnresolvableError(PackageError):
    """Dependencies that cannot be met together; `chain` leads from what was asked to the cause."""

    def __init__(
        self, message: str, *, package: str = "", chain: tuple[str, ...] = (),
        hint: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message, package=package, hint=hint)
        self.chain = chain


class SourceConfigurationError(PackageError):
    """The configuration of a package source cannot be understood; `path` and `line` say where."""

    def __init__(
        self, message: str, *, path: str = "", line: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.path = path
        self.line = line


class SignatureError(PackageError):
    """Signed data whose signature is missing, wrong, or by an unknown key."""


class BinaryCacheError(PackageError):
    """A binary cache gives what cannot be true; `cache` is its address without credentials."""

    def __init__(
        self, message: str, *, package: str = "", cache: str = "", hint: str | None = None
    ) -> None:
        super().__init__(message, package=package, hint=hint)
        self.cache = cache


class NixError(PackageError):
    """Nix refused or failed, or its store cannot be read; `output` is what Nix said, if it ran."""

    def __init__(
        self, message: str, *, package: str = "", output: str = "", hint: str | None = None
    ) -> None:
        super().__init__(message, package=package, hint=hint)
        self.output = output


class OutdatedSourceError(PackageError):
    """Signed package lists that have expired, are of the future, or older than those seen."""


class TransportError(NbdockError):
    """Bytes over HTTP; `url` is what was asked for, without credentials."""

    def __init__(self, message: str, *, url: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.url = url


class HttpStatusError(TransportError):
    """A server answered with an error; `status` is its code."""

    def __init__(
        self, message: str, *, status: int, url: str = "", hint: str | None = None
    ) -> None:
        super().__init__(message, url=url, hint=hint)
        self.status = status


class ConnectionFailedError(TransportError):
    """No server, no answer in time, or an answer that broke off too often."""


class UntrustedCertificateError(ConnectionFailedError):
    """No trusted authority signed the server's certificate; trying again does not help."""


class RegistryError(NbdockError):
    """A registry refused or failed.

    Attributes
    ----------
    status
        The HTTP status of its answer; None if it was not about one.
    codes
        What it said by the specification's codes, such as ``("NAME_UNKNOWN",)``.
    url
        What was asked for, without credentials.
    """

    def __init__(
        self, message: str, *, status: int | None = None, codes: tuple[str, ...] = (),
        url: str = "", hint: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message, hint=hint)
        self.status = status
        self.codes = codes
        self.url = url


class AuthenticationError(RegistryError):
    """A registry wants a login, or does not accept the one it got."""


class ManifestNotFoundError(RegistryError):
    """No such image or repository in a registry; the hint names the nearest tags."""


class RepositoryNotFoundError(ManifestNotFoundError):
    """No such repository in a registry, so none of its images either."""


class PlatformNotFoundError(RegistryError):
    """An image is not there for a platform; `available` is what it is there for."""

    def __init__(
        self, message: str, *, available: tuple[str, ...] = (), url: str = "",
        hint: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message, url=url, hint=hint)
        self.available = available


class UnsupportedManifestError(RegistryError):
    """A manifest of a kind that nbdock cannot use, such as Docker's schema 1."""


class UnsafeDestinationError(RegistryError):
    """A registry sends requests or credentials to a place it has no business with."""


class UploadError(RegistryError):
    """A blob or manifest could not be put into a registry."""


class CommandError(NbdockError):
    """A build command failed: `exit_code`, and the last lines of its `output`.

    `argument` is what it was given as. `line` of it, from 1, is where it stopped, and `source_line`
    what stands there, if that is known.
    """

    def __init__(
        self,
        message: str,
        *,
        exit_code: int,
        output: str = "",
        argument: str = "",
        line: int | None = None,
        source_line: str = "",
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code
        self.output = output
        self.argument = argument
        self.line = line
        self.source_line = source_line


class EngineError(NbdockError):
    """A Docker or Podman engine cannot be reached or refused; `socket` is where it was sought."""

    def __init__(self, message: str, *, socket: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.socket = socket


class VmError(NbdockError):
    """A virtual machine, or what one is made of; `output` is what a program said last, if any."""

    def __init__(self, message: str, *, output: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.output = output


class GuestPartError(VmError):
    """A kernel, module or program for a guest is not there, or not what it should be."""


class LayerDiskError(VmError):
    """A layer could not be made into a disk."""


class GuestBootError(VmError):
    """A guest did not boot: QEMU did not start, or nothing was heard of the guest in time."""


class GuestTimeoutError(VmError):
    """A guest took longer than it may; `timeout_s` is how long that is."""

    def __init__(
        self, message: str, *, timeout_s: float, output: str = "", hint: str | None = None
    ) -> None:
        super().__init__(message, output=output, hint=hint)
        self.timeout_s = timeout_s


class GuestPanicError(VmError):
    """The guest's kernel panicked; `output` is what it said last."""


class GuestMemoryError(VmError):
    """The guest as a whole ran out of memory, not only a command in it."""


class GuestDiskFullError(VmError):
    """The guest's disk was full before the commands began, or where they have no part in it."""


class GuestStoppedError(VmError):
    """The guest was switched off, restarted or killed before it was done."""


class GuestProtocolError(VmError):
    """The guest said something on its control port that it should not, or sent too much."""


class UnavailableError(NbdockError):
    """A component that this machine lacks, or a part of nbdock that is not there yet.

    `argument` names the argument that needs it, if one does.
    """

    def __init__(self, message: str, *, argument: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.argument = argument


def nearest(name: str, known: Iterable[str], *, count: int = 3) -> tuple[str, ...]:
    """The names in `known` that `name` was probably meant to be, best first.

    Examples
    --------
    >>> nearest("maxlayers", ["maxLayers", "name", "contents"])
    ('maxLayers',)
    >>> nearest("arch", ["architecture", "name"])
    ('architecture',)
    """
    import difflib  # which only those wait for who mistype

    folded = {k.replace("_", "").replace("-", "").lower(): k for k in known}
    typed = name.replace("_", "").replace("-", "").lower()
    close = difflib.get_close_matches(typed, folded, n=count, cutoff=0.6)
    if not close and len(typed) >= 3:
        # A name cut short, or its last word alone: difflib finds them too unlike.
        longer = (k for k in folded if k.startswith(typed) or k.endswith(typed))
        close = sorted(longer, key=lambda k: (len(k), k))[:count]
    return tuple(folded[c] for c in close)
