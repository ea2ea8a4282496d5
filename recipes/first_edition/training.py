"""Training of both models: Muon and AdamW side by side, and a moving average of the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from .averaging import WeightAverage
from .precision import Muon
from .state import Checkpoints, learning_rate

AVERAGE_DECAY = 0.995


class Training:
    """A module's optimizers, averaged weights and step number, saved in `path`."""

    def __init__(self, module: nn.Module, path: Path, rate: float, steps: int) -> None:
        self.module, self.rate, self.steps, self.first = module, rate, steps, 0
        self.checkpoints = Checkpoints(path)
        saved = self.checkpoints.load()
        if saved:
            module.load_state_dict(saved["weights"])
        self.average = WeightAverage(module, AVERAGE_DECAY)
        self.optimizers = _optimizers(module, rate)
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        if saved:
            self.first = saved["step"]
            self.average.load_state_dict(saved["average"], self.first)
            if saved["optimizers"]:  # unpacked weights have none
                for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
                    optimizer.load_state_dict(state)

    def step(self, number: int, loss: torch.Tensor) -> None:
        """Take one optimizer step on `loss`; save if it is time."""
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(number, self.steps, self.rate)
            optimizer.step()
            optimizer.zero_grad()
        self.average.update()
        if self.checkpoints.due() or number + 1 == self.steps:
            self.save(number)

    def save(self, number: int) -> None:
        """Save the state after step `number`."""
        states = [optimizer.state_dict() for optimizer in self.optimizers]
        weights, average = self.module.state_dict(), self.average.state_dict()
        self.checkpoints.save({"weights": weights, "average": average, "optimizers": states, "step": number + 1})

    def __enter__(self) -> Self:
        """Give the module its averaged weights inside the block."""
        self._weights = {name: value.clone() for name, value in self.module.state_dict().items()}
        self.module.load_state_dict(self.average.state_dict())
        return self

    def __exit__(self, *_: object) -> None:
        self.module.load_state_dict(self._weights)


def _optimizers(module: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for everything else."""
    inside: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            (inside if parameter.ndim == 2 and ".layers." in name else rest).append(parameter)
    muon = Muon(inside, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    adam = torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.97), weight_decay=0.01, fused=True)
    return [muon, adam]


def load_average(module: nn.Module, path: Path) -> None:
    """Load the averaged weights of the last checkpoint into the module."""
    saved: dict[str, Any] | None = Checkpoints(path).load()
    if saved is None:
        raise FileNotFoundError(f"{path}: train the model first")
    module.load_state_dict(saved["average"])
    module.eval()


def start_over(path: Path, module: nn.Module) -> None:
    """Start a training run from the module's weights."""
    if path.exists():
        raise FileExistsError(f"{path} exists; training resumes from it")
    weights = module.state_dict()
    Checkpoints(path).save({"weights": weights, "average": weights, "optimizers": [], "step": 0})


def forget_paths(folder: Path) -> None:
    """Remove this machine's paths, which transformers writes into the configurations, from a packed checkpoint."""
    for config in [folder / "config.json", *folder.glob("*/config.json")]:
        if config.exists():
            fields = json.loads(config.read_text())
            for part in (fields, *(value for value in fields.values() if isinstance(value, dict))):
                part.pop("_name_or_path", None)
            config.write_text(json.dumps(fields, indent=2) + "\n")
