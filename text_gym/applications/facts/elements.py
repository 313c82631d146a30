"""Facts about chemical elements, from the table in `periodictable` (public domain).

The package is never imported: of one of its modules, the literal of the table is read.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from text_gym.applications.facts.fact import Fact
from text_gym.applications.installed_data import read_installed

_SHA256 = "70193b4abe54125a6e23136afdf8aaf45ecc613653c9fcb074d009711bc58e1e"
_TABLE = "element_base"
_SPELLINGS = {"Aluminum": "Aluminium", "Cesium": "Caesium", "Sulfur": "Sulphur"}


def element_facts() -> Iterator[Fact]:
    """Yields what can be asked about each element: symbol, name and atomic number.

    Raises:
        ModuleNotFoundError: If `periodictable` is not installed.
        ValueError: If it is not the version that was read here.
    """
    for number, (name, symbol) in _elements().items():
        names = tuple(filter(None, (name, _SPELLINGS.get(name))))
        said = name.lower()
        yield Fact("symbol", name, f"What is the chemical symbol of {said}?", (symbol,))
        yield Fact("element", name, f"Which chemical element has the symbol {symbol}?", names)
        yield Fact("number", name, f"What is the atomic number of {said}?", (str(number),))


def _elements() -> Mapping[int, tuple[str, str]]:
    files = read_installed("periodictable", "core.py", sha256=_SHA256, extra="facts")
    for statement in ast.parse(files["core.py"]).body:
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == _TABLE:
            assert statement.value is not None
            table = ast.literal_eval(statement.value)
            return {number: row[:2] for number, row in table.items() if number > 0}
    raise AssertionError(f"the file of this hash has {_TABLE}")
