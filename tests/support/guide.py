"""The code of a guide, run block by block as a reader would paste it.

    python tests/support/guide.py docs/how-to/ci.md registry.example=127.0.0.1:40123

Every block of a page is run:

- ``sh`` by bash; what it exports the next blocks have too,
- ``console`` as well, line by line behind ``$``; what is shown below a line is compared with what
  it says (``...`` stands for anything),
- ``python``, and cells (``%%buildImage``) of ``nix``, by one IPython that has nbdock's extension,
- a block that begins with a comment that names a file is what is in that file,

but for those with a comment before them that says why not:

    <!-- not run: it would fetch a gigabyte -->
    <!-- run apart: needs an engine -->

``--apart`` runs the latter, and nothing else. A block that is neither is an error: nothing gets
into a guide that is not tried. What is said after the path is replaced in all blocks: the names
that only a guide has. It stops at the first block that fails, and ends with 1 then.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_BLOCK = re.compile(r"(?:^<!-- ([\w ]+): ([^>]+) -->\n)?^(```+)(.*)\n((?:.*\n)*?)\3$", re.MULTILINE)
_FILE = re.compile(r"# ([\w./-]+\.\w+)\n")
_COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
_SEEN_ALIKE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_RUN = ("sh", "console", "python", "nix")
NOT_RUN, APART = "not run", "run apart"


@dataclass(frozen=True)
class Block:
    """A block of a page: its language, its code, and what the comment before it says."""

    language: str
    code: str
    mark: str
    reason: str


def blocks(text: str) -> Iterator[Block]:
    """All blocks of a page but Sphinx' directives; `ValueError` for one nobody answers for."""
    for mark, reason, _, language, code in _BLOCK.findall(text):
        if language.startswith("{"):
            continue
        if mark not in ("", NOT_RUN, APART):
            raise ValueError(f"what does <!-- {mark}: --> mean?")
        if not mark and language not in _RUN and not _FILE.match(code):
            raise ValueError(
                f"this block of {language or 'nothing'} is not run and does not say why:\n{code}"
            )
        yield Block(language, code, mark, reason)


def run_guide(text: str, *, apart: bool = False) -> None:
    """Run all blocks of a guide, or those that are run apart; `SystemExit` for what fails."""
    shell: InteractiveShell | None = None
    for block in blocks(text):
        if block.mark != (APART if apart else ""):
            continue
        sys.stdout.write(f"--- {block.language}\n{block.code}")
        sys.stdout.flush()
        if named := _FILE.match(block.code):
            path = Path(named[1])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code)
        elif block.language == "sh":
            _run_in_shell(block.code)
        elif block.language == "console":
            for command, shown in _COMMAND.findall(block.code):
                said = _run_in_shell(command)
                if shown and not doctest.OutputChecker().check_output(shown, said, _SEEN_ALIKE):
                    raise SystemExit(f"$ {command}\nsaid\n{said}instead of\n{shown}")
        else:
            shell = shell or _notebook()
            if not shell.run_cell(block.code).success:
                raise SystemExit(f"this block of {block.language} failed:\n{block.code}")


def _notebook() -> InteractiveShell:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "nbdock")
    return shell


def _run_in_shell(code: str) -> str:
    """Run lines in bash, keep what they export, and give what they write to standard output."""
    with tempfile.NamedTemporaryFile() as kept:
        script = f"{code}\nenv -0 > {kept.name}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        sys.stdout.write(done.stdout)
        if done.returncode:
            raise SystemExit(f"this ended with {done.returncode}:\n{code}")
        lines = kept.read().decode().split("\0")
    os.environ.update(dict(line.split("=", 1) for line in lines if "=" in line))
    return done.stdout


if __name__ == "__main__":
    paths = [each for each in sys.argv[1:] if each != "--apart"]
    page = Path(paths[0]).read_text(encoding="utf-8")
    for change in paths[1:]:
        old, _, new = change.partition("=")
        page = page.replace(old, new)
    run_guide(page, apart="--apart" in sys.argv)
