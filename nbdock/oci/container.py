"""How a container of an image is run: command, environment, user, volumes.

    >>> config = ContainerConfig.from_mapping({"Cmd": ["/bin/sh"], "Volumes": {"/data": {}}})
    >>> config.cmd, list(config.volumes)
    (('/bin/sh',), ['/data'])
    >>> config.to_json()
    {'Cmd': ('/bin/sh',), 'Volumes': {'/data': {}}}

The fields are those of the OCI's image configuration and of Docker's. What a person wrote in a
cell comes through `from_mapping`, which is strict and helpful (a misspelt field, a string where a
list should be, a port that is none). What stands in an image comes through `from_json`, which only
checks types: engines run images whose ports are odd.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nbdock.errors import ArgumentTypeError, UnknownArgumentError, nearest
from nbdock.oci.container_rules import FIELDS, MISTAKEN_NAMES, Kind, complaint, unfit
from nbdock.oci.document import Node
from nbdock.oci.frozen import FrozenMap, freeze

__all__ = ["ContainerConfig", "Healthcheck", "merge_env"]

_EMPTY: FrozenMap[Any] = FrozenMap()
_NO_LABELS: FrozenMap[str] = FrozenMap()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """How an engine finds out whether a container works. Times are nanoseconds, 0: inherited."""

    test: tuple[str, ...] = ()
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0
    extra: Mapping[str, Any] = _EMPTY

    def __post_init__(self) -> None:
        object.__setattr__(self, "test", tuple(self.test))
        object.__setattr__(self, "extra", freeze(self.extra))

    @classmethod
    def from_json(cls, node: Node | Mapping[str, Any]) -> Healthcheck:
        """The health check that stands in a configuration."""
        fields = Node.of(node, "health check").fields()
        numbers = {}
        for name, attribute in _HEALTH_NUMBERS.items():
            number = fields.get(name)
            numbers[attribute] = number.integer() if number else 0
        return cls(test=fields.strings("Test"), **numbers, extra=fields.extra())

    def to_json(self) -> dict[str, Any]:
        """The object that stands in a configuration; zeros are left out."""
        document: dict[str, Any] = {"Test": self.test} if self.test else {}
        for name, attribute in _HEALTH_NUMBERS.items():
            if getattr(self, attribute):
                document[name] = getattr(self, attribute)
        return document | dict(self.extra)


_HEALTH_NUMBERS = {
    "Interval": "interval_ns",
    "Timeout": "timeout_ns",
    "StartPeriod": "start_period_ns",
    "StartInterval": "start_interval_ns",
    "Retries": "retries",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ContainerConfig:
    """The execution parameters of an image. None, empty and zero mean "not given".

    Attributes
    ----------
    entrypoint, cmd, shell
        None if not given; an empty one is written, because it resets the base's.
    exposed_ports, volumes
        Each port (``6379/tcp``) and directory with an empty object, as Go writes a set.
    extra
        Every other field, in its order: Docker's rarer ones (``Hostname``) and unknown ones.
    """

    user: str = ""
    exposed_ports: Mapping[str, Mapping[str, Any]] = _EMPTY
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: Mapping[str, Mapping[str, Any]] = _EMPTY
    working_dir: str = ""
    labels: Mapping[str, str] = _NO_LABELS
    stop_signal: str = ""
    stop_timeout_s: int | None = None
    args_escaped: bool = False
    memory_bytes: int = 0
    memory_swap_bytes: int = 0
    cpu_shares: int = 0
    healthcheck: Healthcheck | None = None
    on_build: tuple[str, ...] = ()
    shell: tuple[str, ...] | None = None
    extra: Mapping[str, Any] = _EMPTY

    def __post_init__(self) -> None:
        for field in FIELDS.values():
            if field.attribute:
                value = freeze(getattr(self, field.attribute))
                object.__setattr__(self, field.attribute, value)
        object.__setattr__(self, "extra", freeze(self.extra))

    @staticmethod
    def field_names() -> tuple[str, ...]:
        """The fields by the specification's names, for completion."""
        return tuple(FIELDS)

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any], *, argument: str = "config") -> ContainerConfig:
        """The configuration that a person wrote.

        Parameters
        ----------
        given
            Fields by the specification's names, with plain values: strings, lists, mappings,
            integers, booleans. None means "not given". A field that is not known and near none
            that is goes into `extra`.
        argument
            What the mapping is called in errors.

        Raises
        ------
        UnknownArgumentError
            A field that is misspelt; the hint has the right name.
        ArgumentTypeError
            A value of the wrong type, or one that no engine accepts; the message says what is
            expected, the hint how it is written.

        Examples
        --------
        >>> ContainerConfig.from_mapping({"cmd": ["/bin/sh"]})
        Traceback (most recent call last):
        ...
        nbdock.errors.UnknownArgumentError: An image's config has no field 'cmd'.
        Did you mean Cmd?
        """
        if not isinstance(given, Mapping):
            raise ArgumentTypeError(
                f"{argument} is a set of fields, not {type(given).__name__}.",
                argument=argument,
                hint='Write config = { Cmd = [ "/bin/sh" ]; };',
            )
        values: dict[str, Any] = {}
        for name, value in given.items():
            where = f"{argument}.{name}"
            field = FIELDS.get(name)
            if field is None:
                _refuse_misspelt(str(name), argument)
                _refuse_non_json(value, where)
            elif value is not None:
                found = complaint(field, value)
                if found:
                    message, hint = found
                    raise ArgumentTypeError(f"{where} {message}", argument=where, hint=hint)
            values[name] = value
        return cls.from_json(Node(values, "$", "a config"))

    @classmethod
    def from_json(cls, node: Node | Mapping[str, Any]) -> ContainerConfig:
        """The configuration that stands in an image; only types are checked."""
        fields = Node.of(node, "config").fields()
        known: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for name, field in FIELDS.items():
            value = fields.get(name)
            if value is None:
                continue
            read = _READERS[field.kind](value)
            if field.attribute:
                known[field.attribute] = read
            else:
                extra[name] = read
        rest = fields.extra()
        order = {name: index for index, name in enumerate(fields.names())}
        ordered = sorted((extra | dict(rest)).items(), key=lambda item: order[item[0]])
        return cls(**known, extra=FrozenMap(ordered))

    def to_json(self) -> dict[str, Any]:
        """The object that stands in a configuration: fixed order, what is not given left out."""
        document: dict[str, Any] = {}
        for name, field in FIELDS.items():
            if not field.attribute:
                continue
            value = getattr(self, field.attribute)
            if isinstance(value, Healthcheck):
                document[name] = value.to_json()
            elif value is not None and (value or field.is_written_empty):
                document[name] = value
        return document | dict(self.extra)


_READERS: dict[Kind, Callable[[Node], Any]] = {
    Kind.STRING: Node.string,
    Kind.STRINGS: lambda node: tuple(item.string() for item in node.array()),
    Kind.SET: lambda node: FrozenMap((key, _member(item)) for key, item in node.items()),
    Kind.MAP: lambda node: FrozenMap((key, item.string()) for key, item in node.items()),
    Kind.BOOLEAN: Node.boolean,
    Kind.INTEGER: Node.integer,
    Kind.HEALTHCHECK: Healthcheck.from_json,
}


def _member(node: Node) -> FrozenMap[Any]:
    """The object beside a member of a set; empty, but what is in it survives."""
    if node.value is None:
        return _EMPTY
    return node.fields().extra()


def _refuse_misspelt(name: str, argument: str) -> None:
    right = MISTAKEN_NAMES.get(name.replace("_", "").lower())
    close = (right,) if right else nearest(name, (n for n, f in FIELDS.items() if f.attribute))
    if close:
        raise UnknownArgumentError(
            f"An image's config has no field {name!r}.",
            argument=f"{argument}.{name}",
            hint=f"Did you mean {close[0]}?",
        )


def _refuse_non_json(value: Any, where: str) -> None:
    if isinstance(value, str) and (bad := unfit(value)):
        raise ArgumentTypeError(f"{where} has in it {bad}.", argument=where)
    if value is None or isinstance(value, bool | int | str):
        return
    if isinstance(value, float) and math.isfinite(value):
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ArgumentTypeError(f"{where} has a key that is no string.", argument=where)
            _refuse_non_json(key, where)
            _refuse_non_json(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _refuse_non_json(item, f"{where}[{index}]")
    else:
        raise ArgumentTypeError(
            f"{where} is a {type(value).__name__}, which cannot stand in an image's config.",
            argument=where,
            hint="Use strings, numbers, booleans, lists and sets.",
        )


def merge_env(base: Iterable[str], new: Iterable[str]) -> tuple[str, ...]:
    """The environment of an image built on a base: of two values of a variable the last wins.

    A variable keeps the place where it first stood, as in dockerTools' layered images.

    >>> merge_env(("PATH=/bin", "A=1"), ("B=2", "PATH=/usr/bin"))
    ('PATH=/usr/bin', 'A=1', 'B=2')
    """
    by_name: dict[str, str] = {}
    for entries in (base, new):
        for entry in entries:
            by_name[entry.partition("=")[0]] = entry
    return tuple(by_name.values())
