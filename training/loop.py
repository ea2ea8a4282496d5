"""The training loop: an adapter is put on the model, trained, and taken off again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer

from models.adapters import LoraPair
from training.base import Example, Recipe, Trainer

# Called after each step with its number (from 1) and its loss.
OnStep = Callable[[int, float], None]
_FLOOR = 0.01


class TrainingFailed(RuntimeError):
    """Training cannot go on; the message is for the job's record."""


def train(
    trainer: Trainer, adapted: torch.nn.Module, examples: Sequence[Example], recipe: Recipe, on_step: OnStep
) -> dict[str, LoraPair]:
    """Train a LoRA adapter on `adapted` and return it, alpha / rank folded in; the model is left as it was.

    Raises:
        TrainingFailed: the loss stopped being finite.
    """
    device = next(adapted.parameters()).device
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision=_precision(device))
    generator = torch.Generator().manual_seed(recipe.seed)
    torch.manual_seed(recipe.seed)  # PEFT draws the initial adapter from the global generator
    with _adapter(adapted, recipe) as layers:
        parameters = [p for layer in layers.values() for p in layer.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, recipe))
        batches = _batches(len(examples), recipe.batch, generator)
        for step in range(1, recipe.steps + 1):
            with accelerator.autocast():
                loss = trainer.loss([examples[i] for i in next(batches)], generator)
            if not torch.isfinite(loss):
                raise TrainingFailed(f"the loss was {loss.item()} at step {step}; try a lower learning_rate")
            accelerator.backward(loss)
            torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            schedule.step()
            on_step(step, loss.item())
        return {name: _pair(layer) for name, layer in layers.items()}


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[list[int]]:
    """Indices of examples, each as often as the others, in an order drawn anew every time round."""
    order: list[int] = []
    while True:
        while len(order) < size:
            order += torch.randperm(count, generator=generator).tolist()
        batch, order = order[:size], order[size:]
        yield batch


def _rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine to 1 % of the peak."""
    if step < recipe.warmup:
        return (step + 1) / (recipe.warmup + 1)
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return _FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * progress))


def _precision(device: torch.device) -> str:
    """bfloat16 where the hardware multiplies it fast; master weights stay as they are."""
    if device.type == "cpu":
        return "bf16" if torch.cpu._is_avx512_bf16_supported() else "no"
    return "bf16" if device.type == "cuda" else "no"


@contextmanager
def _adapter(adapted: torch.nn.Module, recipe: Recipe) -> Iterator[dict[str, LoraLayer]]:
    """PEFT's LoRA layers on `adapted`, by the name of the Linear layer that each stands for."""
    config = LoraConfig(
        r=recipe.rank, lora_alpha=recipe.alpha, lora_dropout=recipe.dropout, target_modules=list(recipe.targets)
    )
    adapted.requires_grad_(False)
    inject_adapter_in_model(config, adapted)
    layers = {name: module for name, module in adapted.named_modules() if isinstance(module, LoraLayer)}
    for layer in layers.values():
        # Small differences add up over many steps: the adapter itself is trained in full precision.
        layer.lora_A.float(), layer.lora_B.float()
    try:
        yield layers
    finally:
        for name, layer in layers.items():
            adapted.set_submodule(name, layer.get_base_layer())
        del adapted.peft_config


def _pair(layer: LoraLayer) -> LoraPair:
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    return LoraPair(a.detach().T.clone(), (b.detach() * layer.scaling["default"]).T.clone())
