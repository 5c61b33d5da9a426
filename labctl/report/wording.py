"""How reports name what a run comes to: a sentence, a shape, a short name."""

from __future__ import annotations

from labctl.model.verdict import Judgement

CLOSING = {
    Judgement.HELD: "Every promise held.",
    Judgement.DOCUMENTED_LOSS: "Every promise held. Data was lost in the way that Redis documents.",
    Judgement.BROKEN: "A promise was broken.",
    Judgement.INCONCLUSIVE: "Inconclusive: something could not be judged, so this is no pass.",
}
"""What a run comes to, in a sentence."""

SYMBOLS = {
    Judgement.HELD: "✓",
    Judgement.DOCUMENTED_LOSS: "△",
    Judgement.BROKEN: "✕",
    Judgement.INCONCLUSIVE: "?",
}
"""A shape for each judgement: nobody has to tell them by colour."""

SLUGS = {
    Judgement.HELD: "held",
    Judgement.DOCUMENTED_LOSS: "documented",
    Judgement.BROKEN: "broken",
    Judgement.INCONCLUSIVE: "inconclusive",
}
"""Names that a style sheet can have."""
