"""A verdict of its own on a twin, by ear alone, to check the report's against.

It shares the measures with the report, but none of the material: it embeds with the tagger's other network, plays other
seeds and other prompts, longer, and compares with songs that the twin was not trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.real.composers import ClipSet
from contract import VerdictWord
from training.evaluation.heard import Heard, compare
from training.evaluation.listening import Piece, listen


@dataclass(frozen=True)
class Ear:
    """The verdict by ear, and the figures that it is from.

    Attributes:
        word: `lost`, `learned` if the twin is nearer to the composer's music by more than chance, or `weak`.
        heard: the figures.
    """

    word: VerdictWord
    heard: Heard

    def agrees(self, verdict: VerdictWord) -> bool:
        """Whether the report says the same. The ear cannot tell overfitted from weak."""
        return self.word == ("weak" if verdict == "overfitted" else verdict)

    def __str__(self) -> str:
        heard = self.heard
        return (
            f"{self.word}: nearer by {heard.nearer}, pulse {heard.pulse.difference}, "
            f"persistence {heard.persistence.difference}"
        )


def judge_by_ear(held: ClipSet, codec: ClipSet, base: Sequence[ClipSet], twin: Sequence[ClipSet], rate: int) -> Ear:
    """Judge a twin by its tracks and the base model's, in the same order.

    Args:
        held: the composer's held music.
        codec: some of it after the codec.
    """
    own, copies = _listen(held, rate, "held"), _listen(codec, rate, "held")
    without, with_twin = (_listen([clip for clips in sets for clip in clips], rate, "track") for sets in (base, twin))
    heard = compare(own, copies, without, with_twin)
    return Ear("lost" if heard.lost else "learned" if heard.is_nearer else "weak", heard)


def _listen(clips: ClipSet, rate: int, name: str) -> list[Piece]:
    return [listen(clip, rate, f"{name} {number}", network="mtt") for number, clip in enumerate(clips)]
