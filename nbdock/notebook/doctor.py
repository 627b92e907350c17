"""``%nbdock doctor``: what this machine has, as a table whose commands can be copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class

from nbdock.notebook.views import Cell, Column, View

if TYPE_CHECKING:
    from nbdock.tables.doctortable import DoctorTable

__all__ = ["DoctorMagics", "doctor_view"]


@magics_class
class DoctorMagics(Magics):
    """What is asked about nbdock itself."""

    @line_magic
    def nbdock(self, line: str) -> object:
        """Say what this machine has of what nbdock can use, and what adds the rest.

        %nbdock doctor
        """
        if line.split() != ["doctor"]:
            raise UsageError(f"%nbdock {line.strip()}: there is only `%nbdock doctor`.")
        # It asks every room what it needs, and so imports them all.
        from nbdock.tables import doctor

        return doctor()


def doctor_view(table: DoctorTable) -> View:
    """The table, whole: pandas would cut the commands off."""
    names = list(map(str, table.columns))
    return View(
        "This machine",
        columns=[
            Column("part", whole=True),
            *(Column(n.replace("_", " "), code=n == "fix", whole=n == "status") for n in names),
        ],
        rows=[
            [str(part), *(Cell(str(value), muted=value == "ok") for value in row)]
            for part, *row in table.itertuples()
        ],
    )
