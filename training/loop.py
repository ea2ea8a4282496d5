"""The training loop: an adapter is injected into the model, trained, and removed again.

Random numbers are drawn from (seed, step, position in the batch), never from a generator that lasts over steps. So the
result of a step depends only on the adapter, the optimiser and the step's number: training that was interrupted ends
with the same adapter, and a batch can be divided over passes and processes.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch.nn.attention import SDPBackend, sdpa_kernel

from adapters.weights import FlatPairs, LoraPair
from training.base import Example, Recipe, Trainer

log = logging.getLogger("producer_twin.training")

# Called after each step with its number (from 1) and its loss.
OnStep = Callable[[int, float], None]
_FINAL_RATE_SHARE = 0.01
# On music the first loss is below 10, both of flow matching and of cross-entropy. A higher one means broken input.
_MAX_FIRST_LOSS = 1000.0


class TrainingFailed(RuntimeError):
    """Training cannot continue. The message goes into the job's record."""


def train(
    trainer: Trainer, adapted: torch.nn.Module, examples: Sequence[Example], recipe: Recipe, on_step: OnStep
) -> dict[str, LoraPair]:
    """Train a LoRA adapter on the module `adapted` from the first step to the last, and return it.

    The module itself is unchanged afterwards.

    Raises:
        TrainingFailed: the loss is not finite, or the device has too little memory.
    """
    with session(trainer, adapted, recipe) as running:
        while running.step < recipe.steps:
            loss = running.advance(examples)
            on_step(running.step, loss)
        return running.pairs()


@contextmanager
def session(trainer: Trainer, adapted: torch.nn.Module, recipe: Recipe) -> Iterator[Session]:
    """Within the block, a new adapter on the module `adapted`, which is unchanged afterwards."""
    torch.manual_seed(recipe.seed)  # PEFT draws the initial adapter from the global generator
    with _adapter(adapted, recipe) as layers:
        yield Session(trainer, adapted, layers, recipe)


class Session:
    """An adapter in training, with its optimiser.

    Attributes:
        step: the number of steps taken.
        examples_per_pass: how many examples one forward pass takes. It is halved when the device runs out of memory.
        accelerator: of this process, for its device and precision.
    """

    def __init__(
        self, trainer: Trainer, adapted: torch.nn.Module, layers: dict[str, LoraLayer], recipe: Recipe
    ) -> None:
        self.step = 0
        self._trainer, self._adapted, self._layers, self._recipe = trainer, adapted, layers, recipe
        device = next(adapted.parameters()).device
        self.accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision=_precision(device))
        self._parameters = {
            f"{name}.{part}": parameter
            for name, layer in layers.items()
            for part, parameter in layer.named_parameters()
            if parameter.requires_grad
        }
        self._optimiser = torch.optim.AdamW(
            self._parameters.values(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.examples_per_pass = recipe.batch
        self._saves_memory = False

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """The adapter's trainable parameters."""
        return list(self._parameters.values())

    @property
    def named_parameters(self) -> Mapping[str, torch.nn.Parameter]:
        """The adapter's trainable parameters by name."""
        return self._parameters

    def set_parameters(self, values: Mapping[str, torch.Tensor]) -> None:
        """Replace the adapter. Raises `ValueError` if the values are those of another one."""
        shapes = {name: parameter.shape for name, parameter in self._parameters.items()}
        if {name: value.shape for name, value in values.items()} != shapes:
            raise ValueError("the state is of another adapter")
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(values[name])

    def advance(self, examples: Sequence[Example]) -> float:
        """Take a step on a batch drawn from all `examples`, and return its loss before the step.

        Raises:
            TrainingFailed: the loss is not finite, the first loss is too high, or one example needs too much memory.
        """
        loss = self._reduce(self._backward(examples))
        if not math.isfinite(loss):
            raise TrainingFailed(f"the loss was {loss} at step {self.step + 1}; {self._advice()}")
        if not self.step and loss > _MAX_FIRST_LOSS:
            raise TrainingFailed(f"the loss began at {loss:.3g}, but is below 10 for music; {self._advice()}")
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), self._recipe.clip)
        for group in self._optimiser.param_groups:
            group["lr"] = self._recipe.learning_rate * _rate_share(self.step, self._recipe)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self.step += 1
        return loss

    def _advice(self) -> str:
        return "try a lower learning_rate" if self.step else "the audio or the checkpoint is not what it should be"

    @torch.no_grad()
    def losses(self, examples: Sequence[Example], seeds: Sequence[object]) -> torch.Tensor:
        """The loss of each example, `[examples]` on the CPU, with random numbers from its seed."""
        with self.accelerator.autocast():
            return self._trainer.losses(examples, [generator_of(seed) for seed in seeds]).float().cpu()

    @contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """Within the block the model is the base model."""
        for layer in self._layers.values():
            layer.enable_adapters(False)
        try:
            yield
        finally:
            for layer in self._layers.values():
                layer.enable_adapters(True)

    @contextmanager
    def as_served(self) -> Iterator[Mapping[str, LoraPair]]:
        """Within the block the model has its own layers, as in a runner, and is given the adapter with each row."""
        pairs = FlatPairs.of(self.pairs())
        for name, layer in self._layers.items():
            self._adapted.set_submodule(name, layer.get_base_layer())
        try:
            yield pairs
        finally:
            for name, layer in self._layers.items():
                self._adapted.set_submodule(name, layer)

    @contextmanager
    def scaled(self, strength: float) -> Iterator[None]:
        """Within the block the adapter has that strength, as by `lora_scale` in generation."""
        for layer in self._layers.values():
            layer.set_scale("default", strength)
        try:
            yield
        finally:
            for layer in self._layers.values():
                layer.set_scale("default", 1.0)

    def pairs(self) -> dict[str, LoraPair]:
        """The adapter as it is now, with alpha / rank folded into B."""
        return {name: _pair(layer) for name, layer in self._layers.items()}

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on, for `restore`."""
        return {
            "step": self.step,
            "parameters": {name: parameter.detach().cpu() for name, parameter in self._parameters.items()},
            "optimiser": self._optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from a `state` of the same recipe on the same model. Raises `ValueError` if it does not fit."""
        self.set_parameters(state["parameters"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]

    def share(self) -> None:
        """Copy the state of rank 0 to all ranks, if there are several."""
        if self.accelerator.num_processes == 1:
            return
        file = io.BytesIO()  # unlike tensors, bytes are not tied to a device of rank 0
        torch.save(self.state(), file)
        with _reporting_lost_ranks():
            [data] = broadcast_object_list([file.getvalue()])
        self.restore(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))

    def _reduce(self, loss: float) -> float:
        """Sum the loss and the gradients over all ranks. Each has those of its part of the batch."""
        if self.accelerator.num_processes == 1:
            return loss
        parameters = self.parameters
        own = [p.new_zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in parameters]
        packed = torch.cat([*own, parameters[0].new_tensor([loss])])
        with _reporting_lost_ranks():
            summed = self.accelerator.reduce(packed, "sum")
        *gradients, total = summed.split([*(gradient.numel() for gradient in own), 1])
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.view_as(parameter)
        return float(total)

    def _backward(self, examples: Sequence[Example]) -> float:
        """This rank's part of the batch's mean loss and gradients, in more and smaller passes if memory runs out."""
        while True:
            try:
                return self._accumulate(examples)
            except torch.OutOfMemoryError as error:
                self._optimiser.zero_grad(set_to_none=True)
                torch.cuda.empty_cache()
                if self.examples_per_pass > 1:
                    self.examples_per_pass = -(-self.examples_per_pass // 2)
                elif not self._saves_memory:
                    self._saves_memory = True
                    self._trainer.save_memory()
                else:
                    raise TrainingFailed(
                        "the device has too little memory for one example; free some, use a smaller rank, or set "
                        "TRAIN_DEVICE to another device"
                    ) from error
                log.warning("out of memory; continuing with %d examples per pass", self.examples_per_pass)

    def _accumulate(self, examples: Sequence[Example]) -> float:
        """Accumulate the gradients of this rank's part of the batch, pass by pass. Returns its part of the loss."""
        batch = self._batch(len(examples))
        own = range(self.accelerator.process_index, len(batch), self.accelerator.num_processes)
        total = 0.0
        for start in range(0, len(own), self.examples_per_pass):
            part = own[start : start + self.examples_per_pass]
            generators = [generator_of((self._recipe.seed, self.step, position)) for position in part]
            # Also for the backward pass: with gradient checkpointing it recomputes activations with the same kernels.
            with _attention(self.accelerator.device):
                with self.accelerator.autocast():
                    losses = self._trainer.losses([examples[batch[position]] for position in part], generators)
                loss = losses.sum() / len(batch)
                self.accelerator.backward(loss)
            total += loss.item()
        return total

    def _batch(self, count: int) -> list[int]:
        """The indices of the step's examples, from epochs that are each shuffled anew."""
        first = self.step * self._recipe.batch
        epochs = range(first // count, (first + self._recipe.batch - 1) // count + 1)
        orders = {n: torch.randperm(count, generator=generator_of((self._recipe.seed, "order", n))) for n in epochs}
        positions = range(first, first + self._recipe.batch)
        return [int(orders[position // count][position % count]) for position in positions]


def generator_of(seed: object) -> torch.Generator:
    """A generator that is seeded with the `repr` of `seed`."""
    digest = hashlib.blake2b(repr(seed).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest) >> 1)


@contextmanager
def _reporting_lost_ranks() -> Iterator[None]:
    """Report an error of a collective operation as the end of another rank, which is its only cause."""
    try:
        yield
    except RuntimeError as error:
        raise TrainingFailed("another device's training process ended; its log says why") from error


def _rate_share(step: int, recipe: Recipe) -> float:
    """The share of the peak learning rate at a step: linear warm-up, then cosine decay to 1 %."""
    if step < recipe.warmup:
        return (step + 1) / (recipe.warmup + 1)
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return _FINAL_RATE_SHARE + (1 - _FINAL_RATE_SHARE) * 0.5 * (1 + math.cos(math.pi * progress))


def _precision(device: torch.device) -> str:
    """bfloat16 autocast on a GPU; the parameters keep their type."""
    return "bf16" if device.type == "cuda" else "no"


def _attention(device: torch.device) -> AbstractContextManager[object]:
    """The attention kernel. On a CPU the unfused one is faster in training; elsewhere torch chooses."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


@contextmanager
def _adapter(adapted: torch.nn.Module, recipe: Recipe) -> Iterator[dict[str, LoraLayer]]:
    """Within the block, PEFT's LoRA layers in `adapted`, by the name of the Linear layer that each replaces."""
    config = LoraConfig(
        r=recipe.rank, lora_alpha=recipe.alpha, lora_dropout=recipe.dropout, target_modules=list(recipe.targets)
    )
    adapted.requires_grad_(False)
    inject_adapter_in_model(config, adapted)
    layers = {name: module for name, module in adapted.named_modules() if isinstance(module, LoraLayer)}
    for layer in layers.values():
        # Updates are too small for bfloat16, so the adapter is trained in float32.
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
