"""How much an adapter changes: of the weights of the layers that it is for, and of what the model makes with it."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, isfinite
from typing import TYPE_CHECKING

import torch

from adapters.adapter_file import InvalidAdapter
from adapters.tensors import AdapterWeights, LoraPair, linear_layers
from contract import SamplingOptions
from models.base import Row, Text

if TYPE_CHECKING:
    from models.base import Model

# Below this part of what the model makes without it, nobody hears a difference.
_NOTHING = 1e-5
# Changes of weights as large as the weights themselves leave nothing of the model.
_ABSURD = 1.0
# No training makes so much of it. Norms within the model may hide that it overflows.
_IMPOSSIBLE = 1e6
_SECONDS = 1.0
_LEAST = 1e-30  # that may be divided by


@dataclass(frozen=True)
class Effect:
    """Sizes of changes relative to what is there without the adapter (Frobenius norms).

    Attributes:
        weights: of the layers that it changes, all together.
        output: of what the model makes in one step.
    """

    weights: float
    output: float

    def notes(self) -> list[str]:
        """For who brings the adapter."""
        said = [
            f"it changes what the model makes by {self.output:.2g} of its size, the weights of its layers by "
            f"{self.weights:.2g} of theirs"
        ]
        if self.output < _NOTHING:
            said.append(
                "that changes nothing that can be heard: was it saved before it was trained, or is its alpha wrong?"
            )
        elif self.weights > _ABSURD:
            said.append(
                "that is more than the weights themselves, and little of the music will be left: was it made for this "
                "checkpoint, with this alpha? A lower lora_scale may help"
            )
        return said


def probe(adapters: list[tuple[AdapterWeights, float]]) -> Row:
    """A short row, always the same but for its adapters."""
    return Row(text=Text("music"), seconds=_SECONDS, options=SamplingOptions(seed=0, steps=1), adapters=adapters)


def measure(relative: float, model: Model, without: torch.Tensor, with_it: torch.Tensor) -> Effect:
    """The effect, from `weight_change` and the model's `response` to both probes.

    Raises:
        InvalidAdapter: what it makes of the model is not finite.
    """
    without, with_it = without.float(), with_it.float()
    if torch.isfinite(without).all() and not torch.isfinite(with_it).all():
        raise InvalidAdapter(
            f"with it {model.backend} makes values that are not finite in {_named(model.dtype)}: its weights are "
            f"{relative:.2g} times the model's; send one that was trained at a lower learning rate, or is not damaged"
        )
    return Effect(relative, _size(with_it - without) / max(_size(without), _LEAST))


@torch.inference_mode()
def weight_change(weights: AdapterWeights, model: Model) -> float:
    """The change of weights relative to those of the layers.

    Raises:
        InvalidAdapter: it is not finite in the type in which the model is served, or no training makes it so large.
    """
    layers = linear_layers(model.adapted)
    sizes = {name: _size_of_pair(pair) for name, pair in weights.pairs.items()}
    sizes |= {name: _size(each.of(layers[name].weight)) for name, each in weights.changes.items()}
    endless = next((name for name, size in sizes.items() if not isfinite(size)), None)
    if endless:
        raise InvalidAdapter(
            f"{endless} is changed by values that are not finite in {_named(model.dtype)}, in which {model.backend} is "
            "served; send one that was trained at a lower learning rate, or is not damaged"
        )
    relative = hypot(*sizes.values()) / max(hypot(*(_size(layers[name].weight) for name in sizes)), _LEAST)
    if relative > _IMPOSSIBLE:
        raise InvalidAdapter(
            f"it changes weights by {relative:.2g} times their own size: it is damaged, or its alpha is wrong; send "
            "one that plays well where it was made"
        )
    return relative


def _size(tensor: torch.Tensor) -> float:
    """The Frobenius norm."""
    largest, scaled = _scaled(tensor)
    return largest * float(scaled.norm())


def _size_of_pair(pair: LoraPair) -> float:
    """That of the product, from products as small as the rank."""
    largest_a, a = _scaled(pair.a)
    largest_b, b = _scaled(pair.b)
    return largest_a * largest_b * float(((a.T @ a) * (b @ b.T)).sum().clamp_min(0).sqrt())


def _scaled(tensor: torch.Tensor) -> tuple[float, torch.Tensor]:
    """The largest magnitude, and the values as parts of it, whose squares do not overflow."""
    largest = float(tensor.abs().amax())
    return largest, tensor.float() / largest if largest else tensor.float()


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
