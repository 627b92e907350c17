"""Real Nix, asked what an expression is worth."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from typing import Any


def nix_values(expressions: Sequence[str]) -> list[Any]:
    """What Nix evaluates the expressions to, in one run; all of them must have a value."""
    together = "[\n" + "\n".join(f"({text}\n)" for text in expressions) + "\n]"
    done = _run(together)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def nix_refuses(expression: str) -> bool:
    """Whether Nix finds an expression to have no value."""
    return _run(expression).returncode != 0


def _run(expression: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["nix-instantiate", "--eval", "--strict", "--json", "-"],
        input=expression, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
