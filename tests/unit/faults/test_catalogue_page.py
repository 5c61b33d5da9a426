"""docs/faults.md says what the registry says."""

from pathlib import Path

from labctl.faults.catalogue import markdown
from labctl.faults.registry import FAULTS

_PAGE = Path(__file__).parents[3] / "docs" / "faults.md"


def test_the_page_is_made_from_the_registry() -> None:
    page = _PAGE.read_text()
    assert page.endswith(markdown()), "python -m labctl.faults.catalogue prints what belongs behind the marker"


def test_every_kind_says_how_it_is_proven() -> None:
    assert [kind.name for kind in FAULTS.values() if not kind.proof or not kind.summary] == []
