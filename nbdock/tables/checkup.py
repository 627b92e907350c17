"""`doctor`: what this machine has of what nbdock can use, and the one command that adds the rest.

    nbdock.doctor()
    nbdock.doctor().loc["QEMU", "fix"]       # 'sudo apt-get install qemu-system-x86'

The rooms say what they need (their modules `requirements`); here it is looked at, all at once.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
from typing import TYPE_CHECKING, Final, Literal

from nbdock import content, images, packages, registry, vm
from nbdock.calling import checked
from nbdock.requirements import Finding, Requirement, State, packages_finding

if TYPE_CHECKING:
    from nbdock.tables.doctortable import DoctorTable

__all__ = ["CheckedPart", "Status", "check_parts", "doctor"]

Status = Literal["ok", "slower", "optional", "missing"]

_PACKAGES: Final = {
    "click": "click", "cryptography": "cryptography", "httpx": "httpx", "ipython": "IPython",
    "isal": "isal", "networkx": "networkx", "pandas": "pandas", "pyarrow": "pyarrow",
    "pysequoia": "pysequoia", "sniffio": "sniffio", "tree-sitter": "tree_sitter",
    "tree-sitter-nix": "tree_sitter_nix", "zlib-ng": "zlib_ng", "zstandard": "zstandard",
}  # fmt: skip


def _look_for_packages() -> Finding:
    finding = packages_finding(_PACKAGES)
    if finding.state is State.OK:
        return dataclasses.replace(finding, found=f"all {len(_PACKAGES)} are installed")
    return finding


REQUIREMENTS: Final[tuple[Requirement, ...]] = (
    *content.REQUIREMENTS,
    Requirement("Python packages", "everything", _look_for_packages, is_needed=True),
    *packages.REQUIREMENTS,
    *registry.REQUIREMENTS,
    *images.REQUIREMENTS,
    *vm.REQUIREMENTS,
    Requirement(
        "ipywidgets",
        "widgets; there is text without",
        lambda: packages_finding({"ipywidgets": "ipywidgets"}, "widgets"),
    ),
)


@dataclasses.dataclass(frozen=True)
class CheckedPart:
    """A part that nbdock can use, as it was found; one row of the table (see `doctor`)."""

    part: str
    status: Status
    found: str
    needed_for: str
    fix: str


def check_parts() -> tuple[CheckedPart, ...]:
    """Look at all of them, in the order of the rooms; blocking, less than a second."""
    with concurrent.futures.ThreadPoolExecutor(len(REQUIREMENTS)) as pool:
        findings = pool.map(Requirement.finding, REQUIREMENTS)
        return tuple(map(_checked, REQUIREMENTS, findings))


def _checked(requirement: Requirement, finding: Finding) -> CheckedPart:
    status: Status = "missing" if requirement.is_needed else "optional"
    if finding.state is not State.ABSENT:
        status = "ok" if finding.state is State.OK else "slower"
    return CheckedPart(requirement.part, status, finding.found, requirement.needed_for, finding.fix)


@checked
def doctor() -> DoctorTable:
    """What is here of all that nbdock can use, what for, and what to do about the rest.

    Never raises: what cannot be looked at is a row that says so.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``part``, with the columns

        - ``status``: ``ok``; ``slower`` (what it is for works without, more slowly); ``optional``
          (not here, and only what it is for does not work); ``missing`` (nothing works),
        - ``found``: what is here, or what is wrong,
        - ``needed_for``: what it is for,
        - ``fix``: the one command that changes it; empty where there is none.

    Examples
    --------
    >>> import nbdock
    >>> nbdock.doctor().loc["home directory", "status"]
    'ok'
    """
    from nbdock.tables.doctortable import table_of

    return table_of(check_parts())
