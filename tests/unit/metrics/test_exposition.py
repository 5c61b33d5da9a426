"""What the exposition writes, read back by prometheus-client's own parser."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from labctl.metrics.exposition import Exposition

LABEL = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


def read(out: Exposition) -> dict[str, list[Sample]]:
    return {family.name: list(family.samples) for family in text_string_to_metric_families(out.render())}


@settings(deadline=None)
@given(LABEL, LABEL, st.floats(allow_infinity=True, allow_nan=True))
def test_labels_and_values_come_back_as_they_were(common: str, own: str, value: float) -> None:
    out = Exposition(lab=common)
    out.about(node=own).gauge("thing", "A thing.", value, own=own)
    (sample,) = read(out)["thing"]
    assert sample.labels == {"lab": common, "node": own, "own": own}
    assert sample.value == value or (math.isnan(sample.value) and math.isnan(value))


def test_a_quote_a_backslash_and_a_newline_are_escaped() -> None:
    out = Exposition()
    out.gauge("thing", 'Says "a\\b"\nand more.', 1, text='a "b"\\\nc')
    assert out.render() == (
        '# HELP thing Says "a\\\\b"\\nand more.\n# TYPE thing gauge\nthing{text="a \\"b\\"\\\\\\nc"} 1\n'
    )


def test_samples_of_a_family_stay_together_whatever_order_they_come_in() -> None:
    out = Exposition(lab="x")
    for node in ("a", "b"):
        about = out.about(node=node)
        about.gauge("one", "One.", 1)
        about.counter("two_total", "Two.", 2)
    assert [line.split(" ")[0] for line in out.render().splitlines() if not line.startswith("#")] == [
        'one{lab="x",node="a"}',
        'one{lab="x",node="b"}',
        'two_total{lab="x",node="a"}',
        'two_total{lab="x",node="b"}',
    ]


def test_histogram_buckets_are_cumulative() -> None:
    out = Exposition()
    out.histogram("took_seconds", "Took.", (0.5, 1.0), (1, 2, 4), 9.5)
    samples = {(s.name, s.labels.get("le")): s.value for s in read(out)["took_seconds"]}
    assert samples == {
        ("took_seconds_bucket", "0.5"): 1,
        ("took_seconds_bucket", "1"): 3,
        ("took_seconds_bucket", "+Inf"): 7,
        ("took_seconds_sum", None): 9.5,
        ("took_seconds_count", None): 7,
    }


def test_a_state_is_one_series_for_each_that_there_could_be() -> None:
    out = Exposition()
    out.state("server_state", "State.", "gone", ("running", "gone"))
    assert {s.labels["state"]: s.value for s in read(out)["server_state"]} == {"running": 0, "gone": 1}
