"""How much an adapter changes the weights of its layers, and the model's output."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, isfinite
from typing import TYPE_CHECKING

import torch

from adapters.adapter_file import InvalidAdapter
from adapters.weights import AdapterWeights, LoraPair, linear_layers
from contract import SamplingOptions
from models.base import Row, Text

if TYPE_CHECKING:
    from models.base import Model

# Below this relative change of the output no difference is heard.
_INAUDIBLE = 1e-5
# Changes larger than the weights themselves leave little of the model.
_DESTRUCTIVE = 1.0
# No training changes weights this much. The output may not show it, because the model's norms hide overflows.
_MAX_WEIGHT_CHANGE = 1e6
_PROBE_SECONDS = 1.0
_MIN_DIVISOR = 1e-30


@dataclass(frozen=True)
class Effect:
    """The adapter's changes relative to the model without it, as ratios of Frobenius norms.

    Attributes:
        weights: change of the weights of all layers that it adapts.
        output: change of the model's output after one step.
    """

    weights: float
    output: float

    def notes(self) -> list[str]:
        """Sentences on the effect, for the user who imports the adapter."""
        notes = [
            f"it changes what the model makes by {self.output:.2g} of its size, the weights of its layers by "
            f"{self.weights:.2g} of theirs"
        ]
        if self.output < _INAUDIBLE:
            notes.append(
                "that changes nothing that can be heard: was it saved before it was trained, or is its alpha wrong?"
            )
        elif self.weights > _DESTRUCTIVE:
            notes.append(
                "that is more than the weights themselves, and little of the music will be left: was it made for this "
                "checkpoint, with this alpha? A lower lora_scale may help"
            )
        return notes


def probe(adapters: list[tuple[AdapterWeights, float]]) -> Row:
    """A short row that is always the same but for its adapters."""
    return Row(text=Text("music"), seconds=_PROBE_SECONDS, options=SamplingOptions(seed=0, steps=1), adapters=adapters)


def measure(relative: float, model: Model, without: torch.Tensor, with_it: torch.Tensor) -> Effect:
    """Compute the effect.

    Args:
        relative: the result of `weight_change`.
        without, with_it: the model's `response` to the probe without and with the adapter.

    Raises:
        InvalidAdapter: with the adapter the model's output is not finite.
    """
    without, with_it = without.float(), with_it.float()
    if torch.isfinite(without).all() and not torch.isfinite(with_it).all():
        raise InvalidAdapter(
            f"with it {model.backend} makes values that are not finite in {_named(model.dtype)}: its weights are "
            f"{relative:.2g} times the model's; send one that was trained at a lower learning rate, or is not damaged"
        )
    return Effect(relative, _norm(with_it - without) / max(_norm(without), _MIN_DIVISOR))


@torch.inference_mode()
def weight_change(weights: AdapterWeights, model: Model) -> float:
    """The norm of the adapter's ΔW of all its layers, relative to that of their weights.

    Raises:
        InvalidAdapter: it is not finite in the model's dtype, or larger than any training makes it.
    """
    layers = linear_layers(model.adapted)
    sizes = {name: _norm_of_pair(pair) for name, pair in weights.pairs.items()}
    sizes |= {name: _norm(each.of(layers[name].weight)) for name, each in weights.deltas.items()}
    not_finite = next((name for name, size in sizes.items() if not isfinite(size)), None)
    if not_finite:
        raise InvalidAdapter(
            f"{not_finite} is changed by values that are not finite in {_named(model.dtype)}, in which {model.backend} "
            "is served; send one that was trained at a lower learning rate, or is not damaged"
        )
    relative = hypot(*sizes.values()) / max(hypot(*(_norm(layers[name].weight) for name in sizes)), _MIN_DIVISOR)
    if relative > _MAX_WEIGHT_CHANGE:
        raise InvalidAdapter(
            f"it changes weights by {relative:.2g} times their own size: it is damaged, or its alpha is wrong; send "
            "one that plays well where it was made"
        )
    return relative


def _norm(tensor: torch.Tensor) -> float:
    """The Frobenius norm."""
    largest, scaled = _scaled(tensor)
    return largest * float(scaled.norm())


def _norm_of_pair(pair: LoraPair) -> float:
    """The Frobenius norm of `a @ b`, from matrices of the rank's size: |ab|² = tr((aᵀa)(bbᵀ))."""
    largest_a, a = _scaled(pair.a)
    largest_b, b = _scaled(pair.b)
    return largest_a * largest_b * float(((a.T @ a) * (b @ b.T)).sum().clamp_min(0).sqrt())


def _scaled(tensor: torch.Tensor) -> tuple[float, torch.Tensor]:
    """The largest magnitude, and the values divided by it, so that their squares do not overflow."""
    largest = float(tensor.abs().amax())
    return largest, tensor.float() / largest if largest else tensor.float()


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
