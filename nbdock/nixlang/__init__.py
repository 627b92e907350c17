"""The language of the cells: parse and evaluate. Knows nothing of images.

Expressions of the Nix language, as data: no file is read, nothing is built or fetched, and only
those Python functions are called that the caller's names provide.

    >>> from nbdock.nixlang import read_arguments
    >>> cell = read_arguments('name = "redis"; config.Cmd = [ "${redis}/bin/redis" ];',
    ...                       {"redis": __import__("pathlib").Path("/opt/redis")})
    >>> cell.arguments
    {'name': 'redis', 'config': {'Cmd': ['/opt/redis/bin/redis']}}
    >>> cell.place_of(("config", "Cmd", 0))
    Place(line=1, column=32, end_line=1, end_column=52)
"""

from nbdock.nixlang.cells import CellArguments, Evaluation, evaluate, read_arguments
from nbdock.nixlang.interop import Names
from nbdock.nixlang.parsing import Expression, parse
from nbdock.nixlang.places import Place
from nbdock.nixlang.plain import CellFunction
from nbdock.nixlang.values import ContextString, takes_keywords

__all__ = [  # noqa: RUF022
    "read_arguments",
    "CellArguments",
    "evaluate",
    "Evaluation",
    "parse",
    "Expression",
    "ContextString",
    "Place",
    "Names",
    "takes_keywords",
    "CellFunction",
]  # fmt: skip
