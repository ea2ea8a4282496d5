"""Training by a variant of the default recipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora import LoraLayer

from adapters.weights import LoraPair
from benchmarks.real.variants import Variant
from models.ace_step import conditions
from models.ace_step.model import AceStep
from training.ace_step import AceStepTrainer, Flow
from training.base import Example
from training.loop import session

# The tensors of an example whose second dimension is time: ACE-Step's latents and MusicGen's codes.
_TIMED = ("mean", "deviation", "codes")


def train(
    trainer: Any, adapted: torch.nn.Module, own: Sequence[Example], replayed: Sequence[Example], variant: Variant
) -> dict[str, LoraPair]:
    """Train an adapter on `own` and, for its share, `replayed` examples."""
    if isinstance(trainer, AceStepTrainer):
        trainer = VariedAceStepTrainer(trainer.model, variant)
    examples = with_replay(own, replayed, variant.replay)
    with session(trainer, adapted, variant.recipe) as running:
        averages = {name: value.detach().clone() for name, value in running.named_parameters.items()}
        while running.step < variant.recipe.steps:
            running.advance(examples)
            # The plain mean of the first steps, or the average would remember where the adapter began.
            decay = min(variant.ema, 1 - 1 / running.step)
            for name, value in running.named_parameters.items():
                averages[name].lerp_(value.detach(), 1 - decay)
        running.set_parameters(averages)
        return running.pairs()


def with_replay(own: Sequence[Example], replayed: Sequence[Example], share: float) -> Sequence[Example]:
    """All own examples, and as many of the replayed ones, in turns, as make up their share."""
    if not share:
        return own
    count = round(len(own) * share / (1 - share))
    return [*own, *(replayed[number % len(replayed)] for number in range(count))]


def shortened(example: Example, model: Any, seconds: float) -> Example:
    """The beginning of an example, so that a step costs less."""
    rate = model.pipeline.latents_per_second if isinstance(model, AceStep) else model.frame_rate
    frames = round(seconds * rate)
    return {name: value[:, :frames] if name in _TIMED else value for name, value in example.items()}


class VariedAceStepTrainer(AceStepTrainer):
    """The trainer of ACE-Step with a variant's loss."""

    def __init__(self, model: AceStep, variant: Variant) -> None:
        super().__init__(model)
        self._variant = variant
        if variant.times:
            self.turbo = variant.times == "discrete"

    def losses(self, examples: Sequence[Example], generators: Sequence[torch.Generator]) -> torch.Tensor:
        pairs = zip(examples, generators, strict=True)
        examples = [self._with_dropped_caption(example, generator) for example, generator in pairs]
        fixed = self._base_flows(examples, generators) if self._variant.keep else None
        flows = self.flows(examples, generators)
        targets = [flow.target for flow in flows]
        if fixed:
            levels = self.model.traits.level_channels
            velocities = [flow.velocity.float() for flow in fixed]
            targets = [
                torch.cat([target[..., :levels], velocity[..., levels:]], dim=-1)
                for target, velocity in zip(targets, velocities, strict=True)
            ]
        losses = [
            self._weight(flow) * (flow.velocity.float() - target).square().mean()
            for flow, target in zip(flows, targets, strict=True)
        ]
        return torch.stack(losses)

    def _with_dropped_caption(self, example: Example, generator: torch.Generator) -> Example:
        share = self._variant.no_caption
        if not share or torch.rand((), generator=generator) >= share:
            return example
        return example | {"condition": conditions.null(self.model.pipeline, example["condition"])}

    @torch.no_grad()
    def _base_flows(self, examples: Sequence[Example], generators: Sequence[torch.Generator]) -> list[Flow]:
        """The base model's flows with the random numbers that the adapter's will have."""
        states = [generator.get_state() for generator in generators]
        with _without_adapter(self.model.adapted):
            flows = self.flows(examples, generators)
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        return flows

    def _weight(self, flow: Flow) -> float:
        """Of the velocity's error, which is that of the latents divided by the time."""
        time = float((flow.noisy.float() - flow.latents).flatten() @ flow.target.flatten() / flow.target.square().sum())
        weight = time**self._variant.time_power
        if most := self._variant.min_snr:
            weight *= min((1 - time) ** 2, most * time**2)
        return weight


@contextmanager
def _without_adapter(adapted: torch.nn.Module) -> Iterator[None]:
    layers = [module for module in adapted.modules() if isinstance(module, LoraLayer) and not module.disable_adapters]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
