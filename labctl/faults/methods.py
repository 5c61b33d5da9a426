"""The catalogue of faults as typed methods: what `labctl/testing/kinds.py` is, made from the registry.

`python -m labctl.faults.methods > labctl/testing/kinds.py` after a kind was added or changed; a test holds the two together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.faults.registry import FAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labctl.faults.kind import FaultKind, Param

_HEAD = '''"""Every kind of fault as a method. Made from the registry by `labctl.faults.methods`; change kinds there."""

# ruff: noqa: A002  # parameters are called as in the catalogue

from __future__ import annotations

from typing import Literal, Unpack

from labctl.model.fault import Scalar
from labctl.testing.injected import Injected, LinkOptions, Options


class Kinds:
    """The methods; `fault` is what all of them come down to."""

    def fault(
        self,
        kind: str,
        target: str = "",
        /,
        *,
        for_s: float | None = None,
        from_: str = "",
        seed: int | None = None,
        **params: Scalar,
    ) -> Injected:
        """Inject a fault of any kind; see `RedisLab.fault`."""
        raise NotImplementedError
'''


def source() -> str:
    """The text of the module, formatted as the formatter would."""
    return _HEAD + "".join("\n" + "\n".join(_method(kind)) + "\n" for kind in FAULTS.values())


def _method(kind: FaultKind) -> Iterator[str]:
    name = kind.name.replace("-", "_")
    more = "LinkOptions" if kind.one_way else "Options"
    yield f"    def {name}("
    yield "        self,"
    yield '        target: str = "",'
    if kind.params:
        yield "        *,"
    for param in kind.params:
        yield f"        {param.name}: {_type(param)} = {_literal(param)},"
    yield f"        **more: Unpack[{more}],"
    yield "    ) -> Injected:"
    yield f'        """{_sentence(kind.summary)}.'
    yield ""
    yield "        Args:"
    in_cluster = f", in a Cluster `{kind.cluster_target}`" if kind.cluster_target else ""
    yield f"            target: `{kind.default_target}` unless stated{in_cluster}."
    for param in kind.params:
        yield f"            {param.name}: {_sentence(param.meaning)}."
    yield f"            **more: `for_s`, `seed`{', `from_`' if kind.one_way else ''}."
    yield '        """'
    given = "".join(f", {param.name}={param.name}" for param in kind.params)
    call = f'return self.fault("{kind.name}", target{given}, **more)'
    if len(call) <= 112:
        yield f"        {call}"
        return
    yield "        return self.fault("
    yield f'            "{kind.name}",'
    yield "            target,"
    for param in kind.params:
        yield f"            {param.name}={param.name},"
    yield "            **more,"
    yield "        )"


def _type(param: Param) -> str:
    if param.choices:
        return f"Literal[{', '.join(_quoted(choice) for choice in param.choices)}]"
    return type(param.default).__name__


def _literal(param: Param) -> str:
    return _quoted(param.default) if isinstance(param.default, str) else repr(param.default)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _quoted(text: str) -> str:
    return f'"{text}"'


if __name__ == "__main__":
    print(source(), end="")
