"""Every place and limit as one named, documented setting.

A setting comes from `configure()`, else from the environment (`NBDOCK_HOME`, `NBDOCK_WORKERS`, ...:
the name in capitals after `NBDOCK_`), else from its default. Units stand in the names. Whatever
else shows or sets them (``%config NbdockSettings``, the documentation) takes them from here.

    >>> import nbdock
    >>> nbdock.settings.current().max_layers_limit
    125
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbdock.errors import ArgumentTypeError, UnknownArgumentError, nearest

__all__ = ["Settings", "configure", "current"]


def _default_home() -> Path:
    """The platform's user data directory (platformdirs' rules, without its import)."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "nbdock"
    base = os.environ.get("XDG_DATA_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".local" / "share") / "nbdock"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings in force. Frozen: `configure()` makes a new one."""

    home: Path = dataclasses.field(default_factory=_default_home)
    """Where everything lives: the image store, the layer cache, downloaded packages."""

    home_least_free_bytes: int = 1 << 30
    """How much room `doctor` wants there. Bytes."""

    workers: int = dataclasses.field(default_factory=lambda: min(os.cpu_count() or 1, 8))
    """Worker threads for hashing, compressing and tarring. Count."""

    max_layers_default: int = 100
    """Layers of a layered image when `maxLayers` is not given. Count."""

    contents_entries_limit: int = 2_000_000
    """The most files of a package that `build_image` copies to ``/``: links to directories are
    followed, so that a few in each other could make any number. Count."""

    max_layers_limit: int = 125
    """The most layers an image may have; engines refuse more than 127. Count."""

    layer_cost_bytes: int = 128 << 10
    """What pulling one more layer costs besides its bytes, for the planner ``history``: a request,
    as the bytes that could come instead. Bytes."""

    plan_horizon_rebuilds: int = 26
    """In how many rebuilds another plan must make up for the bytes that are pulled once because of
    it (`previous`). Count."""

    io_buffer_bytes: int = 1 << 20
    """How much is read, hashed and written at a time. Bytes."""

    connections: int = 8
    """Transfers at a time, to all hosts together. Count."""

    retries: int = 4
    """How often a broken transfer is taken up again. Count."""

    layer_contents_limit_bytes: int = 256 << 30
    """The most that one layer may hold, uncompressed: in pulls and, holes included, in tables.
    Bytes."""

    silence_timeout_s: float = 30.0
    """How long a server may stay silent before the transfer counts as broken. Seconds."""

    redirect_limit: int = 10
    """How many redirects of one request are followed. Count."""

    retry_after_limit_s: float = 120.0
    """The longest wait that a server may ask for; a longer one is an error. Seconds."""

    ca_file: Path | None = None
    """Certificate authorities (PEM) to trust for https instead of the system's. Path."""

    apt_index_max_age_s: float = 6 * 3600.0
    """How long a package source is believed before it is asked whether it changed. Seconds."""

    apt_index_limit_bytes: int = 1 << 30
    """The largest package index that is read, uncompressed. Bytes."""

    progress_delay_s: float = 2.0
    """How long a job may take before a progress line appears. Seconds."""

    progress_parts: int = 10
    """The most parts of some work, such as the layers of a pull, that have a line each. Count."""

    job_log_lines: int = 10_000
    """How many lines of what a job says are kept, the last. Count."""

    job_log_limit_bytes: int = 1 << 20
    """How much of what a job says is kept, the last. Bytes."""

    decompression_ratio_limit: float = 1100.0
    """How many bytes one compressed byte of an image may become, on average: gzip's most is 1032,
    so only bombs are stopped. Ratio."""

    json_limit_bytes: int = 16 << 20
    """The largest manifest, index or configuration that is read. Bytes."""

    cell_text_limit_bytes: int = 256 << 10
    """The longest cell that is read. Bytes."""

    cell_steps_limit: int = 250_000
    """How many steps the evaluation of a cell may take before it counts as endless. Count."""

    cell_depth_limit: int = 20_000
    """How many evaluations may wait for each other; a recursive function takes about four of
    them each time it calls itself. Count."""

    cell_string_limit_characters: int = 16 << 20
    """How much text the evaluation of a cell may make, in all its strings together. Characters."""

    cell_value_depth_limit: int = 100
    """How deeply sets and lists may stand in each other in the value of a cell. Count."""

    deb_control_limit_bytes: int = 16 << 20
    """The largest control or md5sums file that is read of a .deb. Bytes."""

    deb_changelog_limit_bytes: int = 8 << 20
    """How much of the changelog of a package is read, from the newest entry on. Bytes."""

    nix_caches: tuple[str, ...] = ("https://cache.nixos.org",)
    """Binary caches of Nix that packages come from where no Nix is installed: URLs or directories,
    in the environment with blanks between them. Text."""

    nix_trusted_keys: tuple[str, ...] = (
        "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=",
    )
    """The public keys (``name:base64``) that may sign what a binary cache gives. Text."""

    nix_channel: str = "https://channels.nixos.org/nixos-unstable"
    """The channel whose list of store paths says what a package name means in a binary cache: its
    URL, or the URL or path of such a list. Text."""

    nix_channel_max_age_s: float = 24 * 3600.0
    """How long a channel's list, and what a cache says of itself, is believed before it is asked
    whether it changed. Seconds."""

    nix_lookups: int = 24
    """How many store paths a binary cache is asked about at a time. Count."""

    nix_narinfo_limit_bytes: int = 1 << 20
    """The longest description of one store path that is read. Bytes."""

    nix_channel_limit_bytes: int = 256 << 20
    """The largest list of store paths that is read, uncompressed. Bytes."""

    nix_nar_limit_bytes: int = 64 << 30
    """The largest store path that is fetched, uncompressed. Bytes."""

    nix_closure_limit: int = 200_000
    """How many store paths a closure may have. Count."""

    registry_blobs: int = 6
    """Blobs of one image that are fetched or pushed at a time. Count."""

    pull_verifies_diff_ids: bool = True
    """Whether a pull decompresses each new layer to check its diff ID while it comes. If not, a
    layer is checked when it is first read."""

    registry_manifest_limit_bytes: int = 8 << 20
    """The largest manifest or index that is taken from a registry. Bytes."""

    registry_tags_limit: int = 1_000_000
    """The most tags of one repository that are listed. Count."""

    registry_insecure: tuple[str, ...] = ()
    """Registries (as in a reference) that may be spoken to without TLS, or with a certificate that
    nobody trusts; those on this machine may do without TLS anyway. Text."""

    registry_mirrors: tuple[str, ...] = ()
    """What to ask instead of a registry, first come first: ``docker.io=mirror.example/hub``. Text.
    """

    registry_trusted_hosts: tuple[str, ...] = ()
    """Hosts that registries may lead to though they are further inside a network. Text."""

    registry_foreign_layers: bool = False
    """Whether layers that are not in the registry are fetched from the URLs that their image gives.
    """

    registry_token_limit_bytes: int = 1 << 20
    """The largest answer of a token server that is read. Bytes."""

    registry_header_limit_bytes: int = 64 << 10
    """The most that the headers of one answer of a registry may have together. Bytes."""

    registry_chunk_bytes: int = 64 << 20
    """Blobs larger than this are pushed in chunks of it, so that a broken push goes on from the
    last one. Bytes."""

    credential_helper_timeout_s: float = 60.0
    """How long a credential helper may take; it may have to ask its user. Seconds."""

    partial_blob_max_age_s: float = 14 * 24 * 3600.0
    """How long the part of a blob that an interrupted pull left is kept for the next. Seconds."""

    prune_grace_s: float = 24 * 3600.0
    """What was used within this time is not pruned: somebody may be at work with it. Seconds."""

    vm_accelerator: str = "auto"
    """What executes virtual machines: ``kvm``, ``tcg``, or ``auto`` for what a measurement says.
    Text."""

    vm_kvm_least_mips: float = 100.0
    """How fast KVM must be to be used: TCG reaches about 1000, real KVM more, emulated KVM 2.
    Million instructions per second."""

    vm_probe_timeout_s: float = 1.0
    """How long the measurement of KVM may take. Seconds."""

    vm_kernel: str = "auto"
    """Where a guest's kernel comes from: ``host``, ``package``, or ``auto`` for the first of both
    that can be used. Text."""

    vm_kernel_packages: tuple[str, ...] = ("linux-image-cloud-amd64", "linux-image-virtual")
    """Packages with a kernel for guests; the first that the package sources have is taken. Text."""

    vm_module_limit_bytes: int = 256 << 20
    """The largest file of a kernel's package that is read, and the largest module. Bytes."""

    explore_preview_bytes: int = 64 << 10
    """How much of a file `explore` shows. Bytes."""

    vm_user: str = "nobody"
    """Whom virtual machines run as when nbdock itself runs as root. Text."""

    vm_boot_timeout_s: float = 120.0
    """How long a guest may take to boot, and QEMU to answer. Seconds."""

    vm_kvm_boot_timeout_s: float = 15.0
    """How long a guest may take to boot under KVM before TCG is used instead. Seconds."""

    vm_restore_timeout_s: float = 20.0
    """How long each step of keeping or restoring a guest may take before it boots. Seconds."""

    vm_timeout_s: float = 3600.0
    """How long what runs in a guest may take, if the call does not say. Seconds."""

    vm_stop_timeout_s: float = 10.0
    """How long a guest may take to end by itself when it is done; then it is killed. Seconds."""

    vm_log_limit_bytes: int = 16 << 20
    """How much of what a guest's commands say is shown; the rest is only waited for. Bytes."""

    vm_output_bytes: int = 64 << 10
    """How much of what a guest's commands said last is kept. Bytes."""

    vm_changes_limit_bytes: int = 64 << 30
    """The largest tar that is taken from a guest. Bytes."""

    vm_snapshots: bool = True
    """Whether guests that have booted are kept, so that the next begins with one of them."""

    vm_snapshots_limit_bytes: int = 2 << 30
    """How much room they may take together; the one that was used last stays anyway. Bytes."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not _is_right(field, value):
                raise ArgumentTypeError(
                    f"The setting {field.name} must be {_wanted(field)}, not {value!r}.",
                    argument=field.name,
                )
        for text in self.registry_mirrors:
            if not all(part.strip() for part in text.partition("=")):
                raise ArgumentTypeError(
                    f"{text!r} in the setting registry_mirrors is not a mirror of a registry.",
                    argument="registry_mirrors",
                    hint="Write registry=mirror, for example docker.io=mirror.example/hub.",
                )

    def __repr__(self) -> str:
        # What `configure` in a cell shows; all of them fill the screen.
        defaults = Settings()
        shown = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        changed = [f"{k}={v!r}" for k, v in shown.items() if v != getattr(defaults, k)]
        return f"Settings({', '.join(changed)})"


_chosen: dict[str, Any] = {}
_TEXTS = "tuple[str, ...]"
_TRUTHS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_CHOICES = {"vm_accelerator": ("auto", "kvm", "tcg"), "vm_kernel": ("auto", "host", "package")}
_LEAST = {"max_layers_default": 2, "max_layers_limit": 2, "progress_delay_s": 0}
"""The numbers that need not be above zero, or more than that."""
_UNITS = {"_bytes": "bytes", "_s": "seconds", "_characters": "characters", "_layers": "layers"}


def _wanted(field: dataclasses.Field[Any]) -> str:
    """What a setting must be, in words, with its unit."""
    if field.type in ("int", "float"):
        unit = next((unit for end, unit in _UNITS.items() if field.name.endswith(end)), "")
        number = f"a {'whole ' if field.type == 'int' else ''}number{unit and f' of {unit}'}"
        least = _LEAST.get(field.name)
        return f"{number} above zero" if least is None else f"{number}, at least {least}"
    if choices := _CHOICES.get(field.name):
        return f"{', '.join(choices[:-1])} or {choices[-1]}"
    names = {"bool": "true or false", "str": "a text", _TEXTS: "several texts"}
    return names.get(str(field.type), "a path")


def _is_right(field: dataclasses.Field[Any], value: object) -> bool:
    """Whether a setting may have this value."""
    if field.type == "bool":
        return isinstance(value, bool)
    if field.type in ("int", "float"):
        kinds = int if field.type == "int" else int | float
        if isinstance(value, bool) or not isinstance(value, kinds):
            return False
        return value >= _LEAST[field.name] if field.name in _LEAST else value > 0
    if field.type == _TEXTS:
        return isinstance(value, tuple) and all(isinstance(text, str) for text in value)
    if field.type == "str":
        return isinstance(value, str) and value in _CHOICES.get(field.name, (value,))
    return isinstance(value, Path) or (value is None and field.default is None)


def _read(field: dataclasses.Field[Any], text: str) -> Any:
    """What the text of an environment variable means; ValueError or KeyError if it is nothing."""
    match field.type:
        case "int":
            return int(text)
        case "float":
            return float(text)
        case "bool":
            return _TRUTHS[text.strip().lower()]
        case "str":
            return text
        case kind if kind == _TEXTS:
            return tuple(text.split())
        case _:
            return Path(text).expanduser()


def _from_environment(fields: tuple[dataclasses.Field[Any], ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in fields:
        variable = f"NBDOCK_{field.name.upper()}"
        text = os.environ.get(variable)
        if not text:
            continue
        with contextlib.suppress(ValueError, KeyError):
            value = _read(field, text)
            if _is_right(field, value):
                found[field.name] = value
                continue
        raise ArgumentTypeError(
            f"The environment variable {variable} must be {_wanted(field)}, not {text!r}.",
            argument=field.name,
            hint=f"Set it to another value, or unset it for the default of {field.name}.",
        )
    return found


_FIELDS = dataclasses.fields(Settings)
# As the process has them: `current` is asked for at every step of a transfer, and encoding all
# these names each time took twenty times as long.
_VARIABLES = tuple(
    os.fsencode(name)
    for name in (*(f"NBDOCK_{field.name.upper()}" for field in _FIELDS), "HOME", "XDG_DATA_HOME")
)
_last: tuple[object, Settings] | None = None


def current() -> Settings:
    """The settings in force now. Cheap enough to be asked often."""
    global _last
    raw: Mapping[bytes, bytes] = getattr(os.environ, "_data", os.environb)
    key = (*map(raw.get, _VARIABLES), *_chosen.items())
    if _last is None or _last[0] != key:
        _last = (key, Settings(**{**_from_environment(_FIELDS), **_chosen}))
    return _last[1]


def _as_kept(field: dataclasses.Field[Any], value: Any) -> Any:
    """A value as it is kept: texts for paths and lists, 1e6 for a whole number, are meant well."""
    if field.type == _TEXTS:
        # One text is meant as one, not as its letters.
        texts = value.split() if isinstance(value, str) else value
        return tuple(texts) if isinstance(texts, list) else texts
    if field.type == "int" and isinstance(value, float) and value.is_integer():
        return int(value)
    if str(field.type).startswith("Path") and isinstance(value, str | os.PathLike):
        return Path(value).expanduser()
    return value


def configure(**changes: Any) -> Settings:
    """Change settings for this process; ``None`` puts one back to its default.

    In a notebook, ``%config NbdockSettings.workers = 2`` does the same.

    Raises
    ------
    UnknownArgumentError
        No such setting; the hint names the nearest.
    ArgumentTypeError
        A value that the setting cannot have. Nothing is changed then.

    Examples
    --------
    >>> configure(max_layers_default=40).max_layers_default
    40
    >>> configure(max_layers_default=None).max_layers_default
    100
    """
    known = [field.name for field in _FIELDS]
    for name in changes:
        if name not in known:
            close = nearest(name, known)
            raise UnknownArgumentError(
                f"There is no setting {name!r}.",
                argument=name,
                hint=f"Did you mean {close[0]}?" if close else f"Settings: {', '.join(known)}.",
            )
    trial = {k: v for k, v in {**_chosen, **changes}.items() if v is not None}
    for field in _FIELDS:
        if field.name in trial:
            trial[field.name] = _as_kept(field, trial[field.name])
    Settings(**trial)
    _chosen.clear()
    _chosen.update(trial)
    return current()
