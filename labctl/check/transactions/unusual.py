"""Values of transactions that cannot be columns as they are: strings, tuples, integers beyond ±2**62.

And values that are no lists of micro-operations at all: here it is said what is wrong with them.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Final

from labctl.check.transactions.columns import Function
from labctl.model.history import ValueTable

FUNCTIONS_BY_NAME: Final = {
    "append": Function.APPEND,
    "w": Function.WRITE,
    "write": Function.WRITE,
    "r": Function.READ,
    "read": Function.READ,
}


@dataclass(slots=True)
class Unusual:
    """Columns that grow value by value; those of micro-operations as in `Transactions`.

    Attributes:
        problems: What was found wrong, for people.
        positions: Of each value in the history.
        ends: For each value how many micro-operations there were after it.
        keys: Codes of keys.
    """

    problems: list[str] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    keys: dict[object, int] = field(default_factory=dict)
    function: array[int] = field(default_factory=lambda: array("b"))
    key: array[int] = field(default_factory=lambda: array("q"))
    value: array[int] = field(default_factory=lambda: array("q"))
    begin: array[int] = field(default_factory=lambda: array("q"))
    length: array[int] = field(default_factory=lambda: array("q"))
    elements: array[int] = field(default_factory=lambda: array("q"))
    _table: ValueTable = field(default_factory=ValueTable)

    @property
    def values(self) -> list[object]:
        """What codes at and below NIL stand for."""
        return self._table.values

    def add(self, position: int, value: object) -> str:
        """Add one transaction; returns what is wrong with it, or nothing."""
        problem = ""
        if isinstance(value, list | tuple):
            for micro in value:
                problem = problem or self._add_micro(micro)
        else:
            problem = "a transaction's value is its list of micro-operations [function, key, value]"
        self.positions.append(position)
        self.ends.append(len(self.function))
        return problem

    def _add_micro(self, micro: object) -> str:
        if not isinstance(micro, list | tuple) or len(micro) != 3:
            return f"{micro!r} is not a micro-operation [function, key, value]"
        name, key, value = micro
        function = FUNCTIONS_BY_NAME.get(name) if isinstance(name, str) else None
        if function is None:
            return f"unknown micro-operation {name!r}; known are append, w and r"
        if isinstance(key, list | tuple | dict):
            return f"{key!r} cannot be a key"
        begin, length = len(self.elements), 0
        if isinstance(value, list | tuple):
            if function is not Function.READ:
                return f"{name} of a list; only single values can be written"
            self.elements.fromlist([self._code(element) for element in value])
            function, length, value = Function.READ_LIST, len(value), None
        elif isinstance(value, dict):
            return f"{name} of a mapping; only single values can be written or read"
        elif value is None and function is not Function.READ:
            return f"{name} of nothing; None stands for a key that does not exist"
        self.function.append(function)
        self.key.append(self.keys.setdefault(key, len(self.keys)))
        self.value.append(self._code(value))
        self.begin.append(begin)
        self.length.append(length)
        return ""

    def _code(self, value: object) -> int:
        """A code; numbers that Python calls equal are one value, as `micro_encoder` has it."""
        if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
            value = int(value)
        return self._table.code(value)
