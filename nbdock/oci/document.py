"""Reading JSON that may be hostile, so that every fault names its place.

Manifests come from strangers. `load` refuses what two programs could read in two ways (a key
twice, NaN, text that is not UTF-8) and what would exhaust a program (nesting, huge numbers, huge
documents). The `Node` it returns knows its JSON path, and each of its questions ("a string?", "an
integer not below zero?") either answers or raises an InvalidManifestError naming that path.

    >>> node = load(b'{"size": 7, "x": 1}', "a descriptor")
    >>> fields = node.fields()
    >>> fields.required("size").integer(minimum=0), fields.extra()
    (7, {'x': 1})
    >>> load(b'{"layers": [{"size": 1, "size": 2}]}', "a list")
    Traceback (most recent call last):
    ...
    nbdock.errors.InvalidManifestError: Not a list: at $.layers[0].size, the key stands there twice.
    Programs differ in which value they take; fetch or build the image again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from nbdock import settings
from nbdock.errors import InvalidManifestError
from nbdock.oci.frozen import FrozenMap, freeze

__all__ = ["Fields", "Node", "dump", "load"]

MAX_DEPTH = 64
"""The deepest nesting of a document. Real ones end at about 10."""

MAX_SIZE_BYTES = (1 << 63) - 1
"""Sizes are signed 64-bit integers in the specification."""

_MAX_INTEGER_DIGITS = 30
# In memory an empty array is thirty times its text; this many keep a parsed document below 100 MB.
_MAX_CONTAINERS = 500_000
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class _Bad:
    """Stands in the place of a value that must not be there, until its path is known."""

    __slots__ = ("message",)

    def __init__(self, message: str) -> None:
        self.message = message


class _TwiceDict(dict[str, Any]):
    """An object in which `key` stands more than once."""

    key: str = ""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) == len(pairs):
        return result
    seen: set[str] = set()
    twice = _TwiceDict(result)
    for key, _ in pairs:
        if key in seen:
            twice.key = key
            break
        seen.add(key)
    return twice


def _integer(text: str) -> Any:
    if len(text) > _MAX_INTEGER_DIGITS:
        return _Bad(f"a number of {len(text)} digits stands there.")
    return int(text)


def _float(text: str) -> Any:
    value = float(text)
    return value if math.isfinite(value) else _Bad("the number is too large.")


def _constant(text: str) -> _Bad:
    return _Bad(f"{text} stands there, which JSON does not have.")


def _fault(document: str, path: str, message: str, hint: str | None) -> InvalidManifestError:
    return InvalidManifestError(f"Not {document}: at {path}, {message}", path=path, hint=hint)


def load(data: bytes | bytearray | memoryview, document: str) -> Node:
    """The root of a JSON document.

    Parameters
    ----------
    data
        The document; UTF-8.
    document
        What it should be, with its article ("a manifest"); used in errors.

    Raises
    ------
    InvalidManifestError
        It is not JSON that every program would read in the same way.
    """
    limit_bytes = settings.current().json_limit_bytes
    if len(data) > limit_bytes:
        raise _fault(
            document, "$",
            f"the document has {len(data)} bytes; {limit_bytes} are the most.",
            "If it is meant to be so large, raise the setting json_limit_bytes.",
        )  # fmt: skip
    data = bytes(data)
    if data.count(b"{") + data.count(b"[") > _MAX_CONTAINERS:
        message = f"the document has more than {_MAX_CONTAINERS} objects and arrays."
        raise _fault(document, "$", message, None)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"the text is not UTF-8 (byte {error.start})."
        raise _fault(document, "$", message, None) from None
    if text.startswith("\ufeff"):
        raise _fault(document, "$", "the text begins with a byte order mark.", "Remove it.")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_pairs,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
        )
    except json.JSONDecodeError as error:
        message = f"the text is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        hint = "The document is empty." if not text.strip() else None
        raise _fault(document, "$", message, hint) from None
    except RecursionError:
        raise _fault(document, "$", "the document is nested too deeply.", None) from None
    try:
        _check(value, 0)
    except _Found as found:
        path = "$" + "".join(reversed(found.steps))
        shown = path if len(path) <= 200 else path[:197] + "..."
        raise _fault(document, shown, found.message, found.hint) from None
    return Node(value, "$", document)


class _Found(Exception):  # noqa: N818 - never leaves this module
    """A fault on its way up to the root, collecting the steps of its path, last one first."""

    def __init__(self, message: str, hint: str | None = None, step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.steps = [step]


def _check(value: Any, depth: int) -> None:
    """Find what the scanner marked, what is nested too deeply and what UTF-8 cannot hold."""
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            raise _Found("half a UTF-16 pair stands in the text.")
    elif isinstance(value, _Bad):
        raise _Found(value.message)
    elif isinstance(value, dict | list):
        if depth == MAX_DEPTH:
            raise _Found(f"the document is nested more than {MAX_DEPTH} levels deep.")
        if isinstance(value, _TwiceDict):
            hint = "Programs differ in which value they take; fetch or build the image again."
            raise _Found("the key stands there twice.", hint, _step(value.key))
        # Paths are put together only for a fault: a document may have millions of values.
        key: str | int = 0
        try:
            if isinstance(value, dict):
                for key, item in value.items():
                    _check(key, depth)
                    _check(item, depth + 1)
            else:
                for key, item in enumerate(value):  # noqa: B007 - the handler below needs it
                    _check(item, depth + 1)
        except _Found as found:
            found.steps.append(_step(key) if isinstance(key, str) else f"[{key}]")
            raise


def _step(key: str) -> str:
    """One step of a JSON path: ``.key`` or ``["odd key"]``."""
    if _PLAIN_KEY.fullmatch(key):
        return f".{key}"
    return f"[{json.dumps(key if len(key) <= 60 else key[:57] + '...')}]"


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    for kind, name in ((str, "a string"), (int, "an integer"), (float, "a fraction"),
                       (Mapping, "an object"), (list | tuple, "an array")):  # fmt: skip
        if isinstance(value, kind):
            return name
    return type(value).__name__


class Node:
    """A value in a document, with its path. Made by `load`."""

    __slots__ = ("document", "path", "value")

    def __init__(self, value: Any, path: str, document: str) -> None:
        self.value = value
        self.path = path
        self.document = document

    @classmethod
    def of(cls, value: Node | Any, document: str) -> Node:
        """A node: itself, or the root of a document that is already objects."""
        return value if isinstance(value, Node) else cls(value, "$", f"a {document}")

    def fault(self, message: str, *, hint: str | None = None) -> InvalidManifestError:
        """The error to raise about this value; `message` goes on after "at <path>, "."""
        return _fault(self.document, self.path, message, hint)

    def _expected(self, what: str, hint: str | None = None) -> InvalidManifestError:
        return self.fault(f"{what} should stand, not {_kind(self.value)}.", hint=hint)

    def fields(self) -> Fields:
        """The fields of the object that this is."""
        if not isinstance(self.value, Mapping):
            raise self._expected("an object")
        return Fields(self)

    def array(self) -> Iterator[Node]:
        """The elements of the array that this is; null is an empty one, as Go writes it."""
        if self.value is None:
            return
        if not isinstance(self.value, list | tuple):
            raise self._expected("an array")
        for index, item in enumerate(self.value):
            yield Node(item, f"{self.path}[{index}]", self.document)

    def items(self) -> Iterator[tuple[str, Node]]:
        """The keys of the object that this is, each with its value."""
        if not isinstance(self.value, Mapping):
            raise self._expected("an object")
        for key, item in self.value.items():
            yield key, Node(item, self.path + _step(key), self.document)

    def string(self) -> str:
        """The string that this is."""
        if not isinstance(self.value, str):
            raise self._expected("a string")
        return self.value

    def boolean(self) -> bool:
        """The boolean that this is."""
        if not isinstance(self.value, bool):
            raise self._expected("true or false")
        return self.value

    def integer(self, *, minimum: int = -(1 << 63), maximum: int = MAX_SIZE_BYTES) -> int:
        """The integer that this is, inside the limits (64 bits by default)."""
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            raise self._expected("an integer")
        if self.value < minimum:
            raise self.fault(f"the number {self.value} is below {minimum}.")
        if self.value > maximum:
            raise self.fault(f"the number {self.value} is above {maximum}.")
        return self.value


class Fields:
    """The fields of an object. Those asked for are known; `extra` gives the rest.

    Null counts as absent, as the specification has it for every optional field.
    """

    __slots__ = ("_known", "_node", "_values")

    def __init__(self, node: Node) -> None:
        self._node = node
        self._values: Mapping[str, Any] = node.value
        self._known: set[str] = set()

    def get(self, name: str) -> Node | None:
        """The field, or None if it is absent or null."""
        self._known.add(name)
        value = self._values.get(name)
        if value is None:
            return None
        return Node(value, self._node.path + _step(name), self._node.document)

    def has(self, name: str) -> bool:
        """Whether the field stands there, be it null. Does not make it known."""
        return name in self._values

    def names(self) -> tuple[str, ...]:
        """The names of all fields, in their order."""
        return tuple(self._values)

    def required(self, name: str) -> Node:
        """The field; an error if it is absent. Null is left for the question asked of it."""
        found = self.get(name)
        if found is not None:
            return found
        path = self._node.path + _step(name)
        if name in self._values:
            return Node(None, path, self._node.document)
        hint = next((f"There is {k!r} instead." for k in self._values if _fold(k) == _fold(name)),
                    None)  # fmt: skip
        raise _fault(self._node.document, path, "a required field is missing.", hint)

    def text(self, name: str) -> str:
        """A string, empty if absent."""
        node = self.get(name)
        return node.string() if node else ""

    def text_or_none(self, name: str) -> str | None:
        """A string, None if absent."""
        node = self.get(name)
        return node.string() if node else None

    def strings(self, name: str) -> tuple[str, ...]:
        """An array of strings, empty if absent."""
        node = self.get(name)
        return tuple(item.string() for item in node.array()) if node else ()

    def string_map(self, name: str) -> FrozenMap[str]:
        """An object of strings, empty if absent."""
        node = self.get(name)
        return (
            FrozenMap((key, item.string()) for key, item in node.items()) if node else FrozenMap()
        )

    def extra(self) -> FrozenMap[Any]:
        """The fields that were not asked for, in their order, frozen.

        Raises
        ------
        InvalidManifestError
            A field differs from a known one that is there only in capitals. Go's JSON reader
            takes both for the same, so Docker would read something else than nbdock does.
        """
        known = {_fold(name): name for name in self._known if self._values.get(name) is not None}
        extra: dict[str, Any] = {}
        for key, value in self._values.items():
            if key in self._known:
                continue
            if _fold(key) in known:
                path = self._node.path + _step(key)
                message = f"the key differs from {known[_fold(key)]!r} only in capitals."
                hint = "Docker takes both for the same; fetch or build the image again."
                raise _fault(self._node.document, path, message, hint)
            extra[key] = freeze(value)
        return FrozenMap(extra)


def _fold(key: str) -> str:
    return key.casefold()


def dump(document: Mapping[str, Any]) -> bytes:
    r"""Compact JSON in UTF-8, keys in the order they have.

    >>> dump({"b": "\N{SNOWMAN}", "a": ()})
    b'{"b":"\xe2\x98\x83","a":[]}'
    """
    text = json.dumps(
        document, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=dict
    )
    return text.encode("utf-8")
