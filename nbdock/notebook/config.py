"""``%config NbdockSettings``: nbdock's settings as those of IPython itself are seen and set.

    %config NbdockSettings                              # all of them, what they mean, what they are
    %config NbdockSettings.max_layers_default = 40      # None: the default again

The same in ``ipython_config.py``: ``c.NbdockSettings.workers = 2``. There is nothing of its own
here: names, kinds, values and words are those of `nbdock.settings`.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import logging
import textwrap
from typing import Any

from traitlets import TraitError, TraitType
from traitlets.config import Config, Configurable

from nbdock import settings
from nbdock.errors import NbdockError, nearest

__all__ = ["NbdockSettings", "install", "remove"]

_FIELDS = {field.name: field for field in dataclasses.fields(settings.Settings)}


class _Setting(TraitType[Any, Any]):
    """A trait that is the setting of its name."""

    def get(self, _obj: object, _cls: object = None) -> Any:
        return getattr(settings.current(), str(self.name))

    def set(self, _obj: object, value: object) -> None:
        _configure({str(self.name): value})


def _configure(changes: dict[str, Any]) -> None:
    try:
        settings.configure(**changes)
    except NbdockError as error:
        # The kind that ``%config`` expects; it shows the message alone.
        raise TraitError(" ".join(filter(None, (error.message, error.hint)))) from error


class _Settings(Configurable):
    """What all settings have in common."""

    def update_config(self, config: Config) -> None:
        """Change the settings that are given for this class: all of them, or none.

        They are taken out of `config`, which ``%config`` adds to the shell's own: a value that was
        refused would come back with the next ``%load_ext``.
        """
        if changes := config.pop(type(self).__name__, None):
            _configure(dict(changes))

    def __getattr__(self, name: str) -> Any:
        close = nearest(name, _FIELDS, count=1)
        advice = f" Did you mean {close[0]}?" if close else ""
        raise AttributeError(f"There is no setting {name!r}.{advice}")

    @classmethod
    def class_get_help(cls, *_: object) -> str:
        """All settings: kind, meaning, default, and what they are now."""
        now, default, words = settings.current(), settings.Settings(), _words()
        title = f"{cls.__name__} options"
        # ``%config`` takes two dashes from the beginning of every line.
        lines = [title, "-" * (len(title) + 2)]
        for name, field in _FIELDS.items():
            lines.append(f"--{cls.__name__}.{name}=<{field.type}>")
            lines += textwrap.wrap(words[name], 88, initial_indent="    ", subsequent_indent="    ")
            lines.append(f"    Default: {_shown(getattr(default, name))}")
            if getattr(now, name) != getattr(default, name):
                lines.append(f"    Current: {_shown(getattr(now, name))}")
        return "\n".join(lines)


def _shown(value: object) -> str:
    return repr(value if value is None or isinstance(value, int | float | tuple) else str(value))


@functools.cache
def _words() -> dict[str, str]:
    """What stands below each setting in its module."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(settings.Settings))).body
    assert isinstance(body, ast.ClassDef)
    return {
        node.target.id: " ".join(after.value.value.split())
        for node, after in zip(body.body, body.body[1:], strict=False)
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and isinstance(after.value.value, str)
    }


NbdockSettings: Any = type(
    "NbdockSettings",
    (_Settings,),
    {
        "__doc__": "nbdock's settings.",
        **{name: _Setting(allow_none=True).tag(config=True) for name in _FIELDS},
    },
)


def install(shell: Any) -> None:
    """Let ``%config`` know the settings, and take those that the shell's configuration has."""
    remove(shell)
    shell.configurables.append(own := NbdockSettings())
    try:
        own.update_config(shell.config)
    except TraitError as error:
        # As ``%config`` does it: the extension is loaded all the same.
        logging.getLogger().error(error)


def remove(shell: Any) -> None:
    """Take them from ``%config`` again."""
    shell.configurables[:] = [c for c in shell.configurables if not isinstance(c, NbdockSettings)]
