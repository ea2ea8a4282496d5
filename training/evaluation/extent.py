"""How much is measured for the report of a training: that of a few steps is not evaluated for longer than it took."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Attributes:
        captions: of different songs, from which pieces are played beside the neutral prompt.
        seeds: for each prompt.
        through_codec: excerpts that are measured after the codec too.
        draws: of noise, with which the loss on each example is measured.
        small_differences: whether the gain at each `lora_scale` is measured, and the share of the latents that one
            step predicts.
        reason: what follows the names of what is not measured; empty where the training is long enough to tell a style.
    """

    captions: int = 3
    seeds: int = 4
    through_codec: int = 8
    draws: int = 4
    small_differences: bool = True
    reason: str = ""

    def missing(self) -> list[str]:
        """Sentences for the report's `unmeasured`; none if nothing is left out for the training's length."""
        if not self.reason:
            return []
        fewer = (
            f"More than {self.captions + 1} prompts with and without the twin, {self.through_codec} excerpts through "
            f"the codec and {self.draws} draws of noise for each loss"
        )
        small = "The best lora_scale, which is taken to be 1, and the share of the latents that one step predicts"
        return [f"{what}: {self.reason}." for what in [fewer, *([] if self.small_differences else [small])]]


FULL = Extent()
# From this many steps on.
_BY_STEPS = {
    200: FULL,
    50: Extent(seeds=2),
    5: Extent(seeds=1),
    0: Extent(
        captions=1,
        seeds=1,
        through_codec=2,
        draws=2,
        small_differences=False,
        reason="a training of fewer than 5 steps changes too little",
    ),
}


def extent_of(steps: int) -> Extent:
    """The extent for a training of that many steps."""
    return next(extent for least, extent in _BY_STEPS.items() if steps >= least)
