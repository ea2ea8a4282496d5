"""The scaling of each layer of an adapter, alpha / rank: from the file's own alphas, or from PEFT's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt

from adapters.foreign.names import without_wrappers


@dataclass
class Scaling:
    """The settings that determine each layer's scaling.

    Attributes:
        alpha, rank: PEFT's `lora_alpha` and `r`, for layers without an alpha or pattern of their own.
        use_rslora: PEFT's rank-stabilised LoRA, which divides by the square root of the rank.
        use_dora: PEFT's setting, to check against the tensors.
        from_peft: whether the settings are PEFT's.
        alpha_pattern, rank_pattern: PEFT's settings for single layers, by name or end of the name.
        alphas: `alpha` tensors in the file (kohya, LyCORIS), by the layer's name in the file.
        cayley_terms: number of terms of the series by which PEFT's OFT approximates a rotation, 0 if it does not.
        notes: assumptions that the user should know of.
    """

    alpha: float | None = None
    rank: float | None = None
    use_rslora: bool = False
    use_dora: bool = False
    from_peft: bool = False
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    rank_pattern: Mapping[str, float] = field(default_factory=dict)
    alphas: dict[str, float] = field(default_factory=dict)
    cayley_terms: int = 5
    notes: list[str] = field(default_factory=list)

    def of(self, module: str, rank: int | None) -> float:
        """The scaling of a layer of this rank; `None`: a LoKr of whole matrices, which has no rank."""
        if module in self.alphas:
            return self.alphas[module] / rank if rank else 1.0
        alpha = _of_layer(self.alpha_pattern, module, self.alpha)
        if rank is None:
            # PEFT divides by the configured rank, LyCORIS does not scale.
            configured = _of_layer(self.rank_pattern, module, self.rank) if self.from_peft else None
            if alpha is None or not configured:
                return 1.0
            return alpha / configured
        if alpha is None:
            note = "no alpha is given in the file, so it was taken to equal the rank"
            self.notes += [] if note in self.notes else [note]
            return 1.0
        return alpha / (sqrt(rank) if self.use_rslora else rank)


def _of_layer(pattern: Mapping[str, float], module: str, default: float | None) -> float | None:
    """The pattern's value for the layer's name or an end of it. As in PEFT, the first match counts."""
    if not pattern:
        return default
    parts = without_wrappers(module).split(".")
    ends = {".".join(parts[start:]) for start in range(len(parts))} & pattern.keys()
    if not ends:
        return default
    return pattern[ends.pop()] if len(ends) == 1 else next(value for layer, value in pattern.items() if layer in ends)
