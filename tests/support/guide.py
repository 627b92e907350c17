"""The code of a guide, run block by block as a reader would paste it.

    python tests/support/guide.py docs/how-to/ci.md registry.example=127.0.0.1:40123

Blocks of ``sh`` go to bash, of ``python`` and cells (``%%buildImage``) of ``nix`` to one IPython
that has nbdock's extension; all in the working directory, and what a shell exports the next blocks
have too. A block that begins with a comment that names a file is what is in that file. Blocks of
other kinds (``text``, ``console``, ``yaml``, ``nix shown``) are not run. What is said after the
path is replaced in all of them: the names that only a guide has.

It stops at the first block that fails, and ends with 1 then.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell

_BLOCK = re.compile(r"^(```+)(\w+)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w./-]+\.\w+)\n")
_RUN = ("sh", "python", "nix")


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """The language and the code of each block."""
    for _, language, code in _BLOCK.findall(text):
        yield language, code


def run_guide(text: str) -> None:
    """Run all blocks of a guide; `SystemExit` says which one failed."""
    shell: InteractiveShell | None = None
    for language, code in blocks(text):
        if language not in _RUN and not _FILE.match(code):
            continue
        sys.stdout.write(f"--- {language}\n{code}")
        sys.stdout.flush()
        if named := _FILE.match(code):
            path = Path(named[1])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code)
        elif language == "sh":
            _run_in_shell(code)
        else:
            if shell is None:
                shell = InteractiveShell.instance()
                shell.run_line_magic("load_ext", "nbdock")
            if not shell.run_cell(code).success:
                raise SystemExit(f"this block of {language} failed:\n{code}")


def _run_in_shell(code: str) -> None:
    with tempfile.NamedTemporaryFile() as kept:
        script = f"{code}\nenv -0 > {kept.name}"
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], check=False)
        if done.returncode:
            raise SystemExit(f"this block of sh ended with {done.returncode}:\n{code}")
        lines = kept.read().decode().split("\0")
    os.environ.update(dict(line.split("=", 1) for line in lines if "=" in line))


if __name__ == "__main__":
    page = Path(sys.argv[1]).read_text(encoding="utf-8")
    for change in sys.argv[2:]:
        old, _, new = change.partition("=")
        page = page.replace(old, new)
    run_guide(page)
