"""Variants of the default recipe, by what `--try` says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from training.base import Recipe

TIMES = ("continuous", "discrete")


@dataclass(frozen=True)
class Variant:
    """A way to train an adapter and to play with it.

    Attributes:
        recipe: of the training.
        times: `continuous` as for base checkpoints, with the dropout of the condition, or `discrete` as for turbo
            checkpoints, those of the sampler's steps without dropout; empty for the checkpoint's own.
        no_caption: share of examples that lose their caption, beside the dropout above.
        min_snr: the loss of the latents is weighted by their signal to noise ratio up to this one; 0 for no weights.
            Hang et al., Efficient Diffusion Training via Min-SNR Weighting Strategy (arXiv:2303.09556).
        time_power: the loss is weighted by this power of the time, which is 1 for noise.
        keep: only the level channels are learned; for the others the base model's own velocity is the target.
        ema: decay of the average of the adapter's parameters over steps that is played; 0 for the last ones.
        replay: share of examples that are tracks of the base model.
        strength: of the adapter in playing.
        mix: in playing, only the level channels follow the twin, the others the base model.
        early: in playing, the adapter is used at times above this one only.
    """

    recipe: Recipe
    times: str = ""
    no_caption: float = 0.0
    min_snr: float = 0.0
    time_power: float = 0.0
    keep: bool = False
    ema: float = 0.0
    replay: float = 0.0
    strength: float = 1.0
    mix: bool = False
    early: float = 0.0

    @property
    def trained(self) -> Variant:
        """The variant whose adapter this one plays with."""
        return replace(self, strength=1.0, mix=False, early=0.0)

    def check(self, backend: str, level_channels: int) -> None:
        """Raises ValueError if the backend has nothing that the variant changes."""
        plain = Variant(self.recipe, ema=self.ema, replay=self.replay, strength=self.strength)
        if backend != "ace_step" and self != plain:
            raise ValueError(f"{backend} has no times, levels or steps of denoising: this is for ace_step only")
        if (self.keep or self.mix) and not level_channels:
            raise ValueError("keep, mix: the checkpoint's latents have no level channels")
        if self.times not in ("", *TIMES):
            raise ValueError(f"times={self.times}: it is one of {', '.join(TIMES)}")


def changed(recipe: Recipe, text: str) -> Variant:
    """The recipe with the changes in `name=value,…`, or `name` alone for one that is true or false.

    The names are fields of `Recipe` and of `Variant`; the names of layers are joined by `+`. `alpha` is twice the rank.

    Raises:
        ValueError: there is no such name, or the value is of another type.
    """
    values = dict(part.partition("=")[::2] for part in text.split(",") if part)
    ours = _parsed(Variant(recipe), {name: value for name, value in values.items() if hasattr(Variant, name)})
    theirs = _parsed(recipe, {name: value for name, value in values.items() if name not in ours})
    if "rank" in theirs:
        theirs = {"alpha": 2 * theirs["rank"]} | theirs
    new = replace(recipe, **theirs)
    if "warmup" not in theirs:
        new = replace(new, warmup=min(new.warmup, new.steps // 10))
    return Variant(new, **ours)


def _parsed(defaults: Recipe | Variant, values: Mapping[str, str]) -> dict[str, Any]:
    kinds = {field.name: type(getattr(defaults, field.name)) for field in fields(defaults)}
    parsed: dict[str, Any] = {}
    for name, value in values.items():
        if name not in kinds:
            raise ValueError(f"{name}: a recipe has no such field")
        kind = kinds[name]
        if kind is bool and value:
            raise ValueError(f"{name}={value}: say {name} alone")
        parsed[name] = True if kind is bool else kind(value.split("+")) if kind is tuple else kind(value)
    return parsed
