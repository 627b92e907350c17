"""A directive whose text is the code's own: settings, magics, columns of tables, errors, commands.

    ```{nbdock} settings
    ```

It gives Markdown, with which the page goes on. What a thing means is written where the thing is;
so there is nothing here that could become stale.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from docutils import nodes
from docutils.statemachine import StringList
from nbdock_samples import sample_tables
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

from nbdock import errors, notebook, settings, tables
from nbdock.cli import main
from nbdock.notebook import flags
from nbdock.units import bytes_text

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
UNITS = {"_bytes": "bytes", "_s": "seconds", "_percent": "percent", "_mips": "MIPS"}
ROOMS = {
    "apt": "Debian and Ubuntu packages", "deb": "Debian and Ubuntu packages",
    "cell": "The language of cells", "nix": "nixpkgs", "registry": "Registries",
    "pull": "Registries", "credential": "Registries", "vm": "Virtual machines",
    "progress": "Progress and jobs", "job": "Progress and jobs",
}  # fmt: skip
FLEET = {"images": "registry_table", "layers": "layer_table", "packages": "package_table"}


def cell(text: object) -> str:
    """Text as it may stand in a cell of a table."""
    return " ".join(str(text).split()).replace("``", "`").replace("|", r"\|")


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def settings_text() -> str:
    """Every setting: name, variable, default, unit, meaning."""
    docs = ModuleAnalyzer.for_module("nbdock.settings").find_attr_docs()
    rooms: dict[str, list[list[str]]] = {}
    for field in dataclasses.fields(settings.Settings):
        told = " ".join(docs["Settings", field.name]).strip().removesuffix(".")
        meaning, _, unit = told.rpartition(". ")
        if field.type == "bool":
            meaning, unit = told, "true or false"
        elif len(unit.split()) > 4 or not meaning:
            meaning, unit = told, "path" if field.type == "Path" else ""
        room = ROOMS.get(field.name.partition("_")[0], "General")
        variable = f"NBDOCK_{field.name.upper()}"
        shown = f"{_default(field)}<br>{unit.lower()}" if unit else _default(field)
        rooms.setdefault(room, []).append(
            [f"**{field.name}**<br><small>{variable}</small>", shown, f"{cell(meaning)}."]
        )
    return "\n".join(
        f"## {room}\n\n{table(['setting, variable', 'default, unit', 'meaning'], rows)}"
        for room, rows in rooms.items()
    )


def _default(field: dataclasses.Field[Any]) -> str:
    if field.name == "home":
        return "`~/.local/share/nbdock`, or below `XDG_DATA_HOME`"
    if field.name == "workers":
        return "one for each processor, at most 8"
    value = field.default
    if isinstance(value, tuple):
        return " ".join(f"`{text}`" for text in value) or "none"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"`{value:g}`"
    if field.name.endswith("_bytes"):
        return f"`{value}` ({_binary(value)})"
    return f"`{value}`"


def _binary(size: int) -> str:
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size % (1 << power) == 0:
            return f"{size >> power} {unit}"
    return bytes_text(size)


def _magics() -> Iterator[tuple[str, str]]:
    """The name of each magic with its percent signs, and what it says of itself."""
    for group in notebook._MAGICS:  # noqa: SLF001 - the one list of them
        for kind, sign in (("cell", "%%"), ("line", "%")):
            for name, method in group.magics[kind].items():
                yield f"{sign}{name}", inspect.getdoc(getattr(group, str(method))) or ""


def magics_text() -> str:
    """Every magic: what it says of itself, and its flags."""
    parts = []
    for shown, told in _magics():
        # The paragraph that lists the flags is the table's, which has them from the parser.
        text = re.split(r"\n\s*\nFlags: ", told)[0]
        parts += [f"## `{shown}`", _with_cells(text), _flags(shown.lstrip("%"))]
    return "\n\n".join(parts)


def _with_cells(text: str) -> str:
    """The same with what is indented as blocks of a cell's language."""
    fenced = re.sub(
        r"(?:^    .*\n?)+",
        lambda found: (
            f"```{'nix' if '%%' in found[0] else 'ipython3'}\n"
            f"{textwrap.dedent(found[0]).rstrip()}\n```\n"
        ),
        text,
        flags=re.MULTILINE,
    )
    return fenced.replace("```", "\0").replace("``", "`").replace("\0", "```")


def _flags(magic: str) -> str:
    if magic not in {*notebook.BUILDERS, *flags.TABLE_MAGICS, "runAsRoot", "prefetchImage"}:
        return ""
    rows = []
    for action in flags._parser(magic)._actions:  # noqa: SLF001 - argparse has no other list
        names = [
            f"{name} {action.metavar}" if action.metavar else name for name in action.option_strings
        ]
        if names:
            rows.append([", ".join(f"`{name}`" for name in names), cell(action.help or "")])
    return table(["flag", "what it does"], rows)


@functools.cache
def _samples() -> dict[str, Any]:
    return sample_tables()


def meanings(function: str) -> dict[str, str]:
    """What a table's docstring says of each of its columns."""
    text = inspect.getdoc(getattr(tables, function)) or ""
    found: dict[str, str] = {}
    for item in re.findall(r"^ *- (``.*?)(?=^ *- |^\s*$|\Z)", text, re.MULTILINE | re.DOTALL):
        names, _, meaning = item.partition(": ")
        for name in re.findall(r"``(\w+)``", names):
            found[name] = cell(meaning).rstrip(",.;")
    return found


def columns_text(which: str) -> str:
    """The columns of a table: type, unit, meaning."""
    function, _, kind = which.partition(" ")
    told = meanings(FLEET[kind] if kind else function) | {
        "image": "as it was given", "error": "why the image, or its packages, could not be read",
        "position": "of the layer, from 0, the lowest", "package": "the name",
    } | (meanings(which) if not kind else {})  # fmt: skip
    frame = _samples()[which]
    rows = []
    for name, kind_of in frame.dtypes.items():
        unit = next((u for end, u in UNITS.items() if str(name).endswith(end)), "")
        unit = "UTC" if "UTC" in str(kind_of) else unit
        rows.append([f"`{name}`", f"`{kind_of}`", unit, told.get(str(name), "")])
    head = [f"`{name}`" for name in frame.index.names if name]
    index = f"Index: {', '.join(head)}.\n\n" if head else ""
    return index + table(["column", "dtype", "unit", "meaning"], rows)


def errors_text() -> str:
    """The tree of errors, and each with what it means."""
    tree = textwrap.dedent((inspect.getdoc(errors) or "").split("\n\n")[-1])
    parts = [f"```text\n{tree}\n```"]
    known = [getattr(errors, name) for name in errors.__all__]
    classes = [each for each in known if inspect.isclass(each)]

    def below(error: type, depth: int) -> None:
        told = (inspect.getdoc(error) or "").split("\n\nParameters\n")[0].split("\n\nAttributes\n")
        indent = "  " * depth
        parts.append(f"{indent}- **{error.__name__}**: {cell(told[0])}")
        for each in [e for e in classes if e.__bases__[0] is error]:
            below(each, depth + 1)

    below(errors.NbdockError, 0)
    return "\n".join([parts[0], "", *parts[1:]])


def commands_text() -> str:
    """Every command: usage, what it does, options, examples."""
    parts = []
    for name, command in main.commands.items():
        context = click.Context(command, info_name=f"nbdock {name}")
        usage = " ".join(command.collect_usage_pieces(context))
        records = (
            option.get_help_record(context)
            for option in command.params
            if isinstance(option, click.Option)
        )
        rows = [[f"`{cell(record[0])}`", cell(record[1])] for record in records if record]
        told = inspect.cleandoc(command.help or "")
        after = inspect.cleandoc((command.epilog or "").replace("\b\n", ""))
        is_examples = after.startswith("Examples:\n")
        after = inspect.cleandoc(after.removeprefix("Examples:"))
        parts += [f"### `nbdock {name}`", f"```text\nnbdock {name} {usage}\n```", told]
        parts += [table(["option", "what it does"], rows)] if rows else []
        if after:
            parts.append(f"```{'sh' if is_examples else 'text'}\n{after}\n```")
    return "\n\n".join(parts)


def first_cell_text() -> str:
    """The cell of the quickstart that builds, and its result."""
    notebook = json.loads((NOTEBOOKS / "00-quickstart.ipynb").read_text(encoding="utf-8"))
    for made in notebook["cells"]:
        if "layer-table" in made["metadata"].get("tags", ()):
            code = "".join(made["source"])
            shown = [o["data"]["text/html"] for o in made["outputs"] if "data" in o]
            html = "".join(text for lines in shown[:1] for text in lines).replace("\n", " ")
            return (
                f"```nix\n{code}\n```\n\n"
                '<div class="cell_output first-cell"><div class="output text_html">'
                f"{html}</div></div>"
            )
    raise LookupError("the quickstart has no cell with the tag layer-table")


class Reference(SphinxDirective):
    """``{nbdock} settings``, ``magics``, ``columns TABLE``, ``errors``, ``commands``, ..."""

    required_arguments = 1
    optional_arguments = 2

    def run(self) -> list[nodes.Node]:
        """The Markdown, as the page would have it."""
        what, *rest = self.arguments
        text = columns_text(" ".join(rest)) if what == "columns" else TEXTS[what]()
        lines = StringList(text.splitlines(), source=f"nbdock {what}")
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


TEXTS = {
    "settings": settings_text,
    "magics": magics_text,
    "errors": errors_text,
    "commands": commands_text,
    "first-cell": first_cell_text,
}


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("nbdock", Reference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
