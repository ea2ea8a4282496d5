"""A training of one Linear layer, which takes no time: held-out songs get better for some steps, then worse."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch

from training.base import Example, Recipe

SIZE, SONGS = 4, 4
RECIPE = Recipe(steps=40, batch=4, rank=4, alpha=4, targets=("layer",), learning_rate=3e-2, warmup=2)


class ToyExamples(list[Example]):
    """Examples that are named by their place."""

    @property
    def digests(self) -> list[str]:
        return [str(place) for place in range(len(self))]


class ToyTrainer:
    """The squared error of the layer's output, whose input has noise."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def losses(self, examples: Sequence[Example], generators: Sequence[torch.Generator]) -> torch.Tensor:
        return torch.stack(
            [
                (self.model(example["x"] + 0.01 * torch.randn(SIZE, generator=generator)) - example["y"])
                .square()
                .mean()
                for example, generator in zip(examples, generators, strict=True)
            ]
        )


class _Module(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(SIZE, SIZE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.layer(x)
        return y


def toy_module() -> torch.nn.Module:
    torch.manual_seed(0)
    return _Module()


def toy_split(module: torch.nn.Module, held_out_share: float = 0.5, held_out: bool = True) -> Any:
    """A split whose songs ask for a change of the layer, and whose held-out songs for a share of that change.

    Args:
        held_out_share: 1 asks for the whole change: the longer the training, the better.
        held_out: whether there are held-out songs.
    """
    generator = torch.Generator().manual_seed(1)
    change, inputs = torch.randn(SIZE, SIZE, generator=generator), torch.randn(SONGS, SIZE, generator=generator)

    def songs(share: float) -> list[Example]:
        with torch.no_grad():
            return [{"x": x, "y": module(x) + share * x @ change} for x in inputs]

    return SimpleNamespace(train=_subset(songs(1.0)), held_out=_subset(songs(held_out_share) if held_out else []))


def _subset(examples: list[Example]) -> Any:
    return SimpleNamespace(
        examples=ToyExamples(examples), texts=[], sample=lambda count: (ToyExamples(examples[:count]), [0])
    )
