"""Samples gathered into families, and Prometheus' text format of them (version 0.0.4).

Written here and not left to prometheus-client's `generate_latest`, which sorts and escapes the labels of every sample anew:
a lab of twelve nodes has five thousand, and the agent that renders them also carries the lab's links. Here the labels of a
node are put into text once a scrape. `tests/unit/metrics/test_exposition.py` holds the result against prometheus-client's
parser; `benchmarks/observe.py` measures both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Exposition:
    """What one scrape found. Families come in the order in which they were first met.

    Args:
        common: Labels that every sample carries.
    """

    def __init__(self, **common: str) -> None:
        self._labels = _text(common)
        self._braces = _braces(self._labels)
        self._families: dict[str, list[str]] = {}

    def about(self, **labels: str) -> Exposition:
        """The same exposition, in which what is added carries these labels as well."""
        narrow = Exposition()
        narrow._labels = self._labels + _text(labels)
        narrow._braces = _braces(narrow._labels)
        narrow._families = self._families
        return narrow

    def gauge(self, name: str, help_text: str, value: float, **labels: str) -> None:
        """A value that goes up and down."""
        self._family(name, "gauge", help_text).append(self._sample(name, value, labels))

    def counter(self, name: str, help_text: str, value: float, **labels: str) -> None:
        """A value that only grows; `name` ends in `_total`."""
        self._family(name, "counter", help_text).append(self._sample(name, value, labels))

    def state(self, name: str, help_text: str, value: str, states: Iterable[str], **labels: str) -> None:
        """One of several states, as a series each that is 0 or 1, told apart by the label `state`."""
        for state in states:
            self.gauge(name, help_text, float(state == value), **labels, state=state)

    def summary(
        self, name: str, help_text: str, quantiles: Mapping[str, float], count: float, total: float, **labels: str
    ) -> None:
        """Quantiles that the source has worked out, by quantile."""
        lines = self._family(name, "summary", help_text)
        lines += [self._sample(name, value, {**labels, "quantile": quantile}) for quantile, value in quantiles.items()]
        lines += [self._sample(f"{name}_sum", total, labels), self._sample(f"{name}_count", count, labels)]

    def histogram(
        self, name: str, help_text: str, bounds: Sequence[float], counts: Sequence[int], total: float, **labels: str
    ) -> None:
        """Counts of what fell into each bucket: one more than there are upper bounds, not cumulative."""
        lines = self._family(name, "histogram", help_text)
        below = 0
        for bound, count in zip([*(f"{bound:g}" for bound in bounds), "+Inf"], counts, strict=True):
            below += count
            lines.append(self._sample(f"{name}_bucket", below, {**labels, "le": bound}))
        lines += [self._sample(f"{name}_sum", total, labels), self._sample(f"{name}_count", below, labels)]

    def render(self) -> str:
        """The text."""
        return "".join(line for lines in self._families.values() for line in lines)

    def _family(self, name: str, kind: str, help_text: str) -> list[str]:
        lines = self._families.get(name)
        if lines is None:
            explained = help_text.replace("\\", "\\\\").replace("\n", "\\n")
            lines = self._families[name] = [f"# HELP {name} {explained}\n# TYPE {name} {kind}\n"]
        return lines

    def _sample(self, name: str, value: float, labels: Mapping[str, str]) -> str:
        braces = _braces(self._labels + _text(labels)) if labels else self._braces
        return f"{name}{braces}{value if -_INFINITY < value < _INFINITY else _special(value)}\n"


_INFINITY = float("inf")


def _braces(text: str) -> str:
    """What stands between a sample's name and its value."""
    return f"{{{text[:-1]}}} " if text else " "


def _text(labels: Mapping[str, str]) -> str:
    r"""Labels as text, a comma behind each. Backslash, quote and newline are escaped: `a"b` is `a\"b`."""
    return "".join(f'{name}="{escaped(value)}",' for name, value in labels.items())


def escaped(value: str) -> str:
    """A label's value as it stands between quotes."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _special(value: float) -> str:
    return {_INFINITY: "+Inf", -_INFINITY: "-Inf"}.get(value, "NaN")
