"""The training loop: an adapter is put on the model, trained, and taken off again.

What is random is drawn from (seed, step, place in the batch), never from a generator that goes on from step to step.
So a step's result depends on the adapter, the optimiser and the step's number alone: training that was interrupted goes
on to the same adapter, and a batch may be divided over passes and processes without changing the mathematics.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch.nn.attention import SDPBackend, sdpa_kernel

from adapters.weights import LoraPair
from training.base import Example, Recipe, Trainer

log = logging.getLogger("producer_twin.training")

# Called after each step with its number (from 1) and its loss.
OnStep = Callable[[int, float], None]
_FLOOR = 0.01
# The first loss of music on a working model is below 10, for flow matching and for codebooks' cross-entropy alike.
_ABSURD_LOSS = 1000.0


class TrainingFailed(RuntimeError):
    """Training cannot go on; the message is for the job's record."""


def train(
    trainer: Trainer, adapted: torch.nn.Module, examples: Sequence[Example], recipe: Recipe, on_step: OnStep
) -> dict[str, LoraPair]:
    """Train a LoRA adapter on `adapted` from beginning to end and return it; the model is left as it was.

    Raises:
        TrainingFailed: the loss stopped being finite, or the memory does not suffice.
    """
    with session(trainer, adapted, recipe) as running:
        while running.step < recipe.steps:
            loss = running.advance(examples)
            on_step(running.step, loss)
        return running.pairs()


@contextmanager
def session(trainer: Trainer, adapted: torch.nn.Module, recipe: Recipe) -> Iterator[Session]:
    """An adapter in training on `adapted`, which is left as it was at the end."""
    torch.manual_seed(recipe.seed)  # PEFT draws the initial adapter from the global generator
    with _adapter(adapted, recipe) as layers:
        yield Session(trainer, layers, recipe, next(adapted.parameters()).device)


class Session:
    """Attributes:
    step: how many were taken.
    examples_a_pass: how many go through the model at once; fewer take less memory and more time.
    """

    def __init__(self, trainer: Trainer, layers: dict[str, LoraLayer], recipe: Recipe, device: torch.device) -> None:
        self.step = 0
        self._trainer, self._layers, self._recipe = trainer, layers, recipe
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
        self.examples_a_pass = recipe.batch
        self._saving = False

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """What is trained."""
        return list(self._parameters.values())

    def advance(self, examples: Sequence[Example]) -> float:
        """Take a step on a batch drawn from all `examples`, and return its loss before the step.

        Raises:
            TrainingFailed: the loss is not finite or begins absurdly, or the memory does not suffice for one example.
        """
        loss = self._gathered(self._backward(examples))
        if not math.isfinite(loss):
            raise TrainingFailed(f"the loss was {loss} at step {self.step + 1}; {self._advice()}")
        if not self.step and loss > _ABSURD_LOSS:
            raise TrainingFailed(f"the loss began at {loss:.3g}, where music is below 10; {self._advice()}")
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), self._recipe.clip)
        for group in self._optimiser.param_groups:
            group["lr"] = self._recipe.learning_rate * _rate(self.step, self._recipe)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self.step += 1
        return loss

    def _advice(self) -> str:
        return "try a lower learning_rate" if self.step else "the audio or the checkpoint is not what it should be"

    @torch.no_grad()
    def losses(self, examples: Sequence[Example], seeds: Sequence[object]) -> torch.Tensor:
        """Each example's loss under the randomness of its seed, `[examples]`, on the CPU."""
        with self.accelerator.autocast():
            return self._trainer.losses(examples, [generator_of(seed) for seed in seeds]).float().cpu()

    @contextmanager
    def without(self) -> Iterator[None]:
        """Within the context the model is the base model."""
        for layer in self._layers.values():
            layer.enable_adapters(False)
        try:
            yield
        finally:
            for layer in self._layers.values():
                layer.enable_adapters(True)

    def pairs(self) -> dict[str, LoraPair]:
        """The adapter as it is now, alpha / rank folded in."""
        return {name: _pair(layer) for name, layer in self._layers.items()}

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, for `restore`."""
        return {
            "step": self.step,
            "parameters": {name: parameter.detach().cpu() for name, parameter in self._parameters.items()},
            "optimiser": self._optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state` of the same recipe on the same model. Raises `ValueError` if it does not fit."""
        saved = state["parameters"]
        if {name: value.shape for name, value in saved.items()} != {n: p.shape for n, p in self._parameters.items()}:
            raise ValueError("it is of another adapter")
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(saved[name])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]

    def share(self) -> None:
        """Have all ranks go on from what rank 0 has; nothing where this process is alone."""
        if self.accelerator.num_processes == 1:
            return
        file = io.BytesIO()  # which, unlike tensors, says nothing of rank 0's device
        torch.save(self.state(), file)
        with _beside_others():
            [data] = broadcast_object_list([file.getvalue()])
        self.restore(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))

    def _gathered(self, loss: float) -> float:
        """The whole batch's loss, and in the parameters its gradients: each rank has its part's."""
        if self.accelerator.num_processes == 1:
            return loss
        parameters = self.parameters
        parts = [p.new_zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in parameters]
        own = torch.cat([*parts, parameters[0].new_tensor([loss])])
        with _beside_others():
            whole = self.accelerator.reduce(own, "sum")
        *gradients, total = whole.split([*(part.numel() for part in parts), 1])
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.view_as(parameter)
        return float(total)

    def _backward(self, examples: Sequence[Example]) -> float:
        """This rank's part of the batch's mean loss and its gradients, in as many passes as the memory asks for."""
        while True:
            try:
                return self._passes(examples)
            except torch.OutOfMemoryError as error:
                self._optimiser.zero_grad(set_to_none=True)
                torch.cuda.empty_cache()
                if self.examples_a_pass > 1:
                    self.examples_a_pass = -(-self.examples_a_pass // 2)
                elif not self._saving:
                    self._saving = True
                    self._trainer.save_memory()
                else:
                    raise TrainingFailed(
                        "the device's memory does not suffice for one example; free some, use a smaller rank, or set "
                        "TRAIN_DEVICE to another device"
                    ) from error
                log.warning("out of memory; going on with %d examples a pass", self.examples_a_pass)

    def _passes(self, examples: Sequence[Example]) -> float:
        batch = self._batch(len(examples))
        own = range(self.accelerator.process_index, len(batch), self.accelerator.num_processes)
        total = 0.0
        for start in range(0, len(own), self.examples_a_pass):
            part = own[start : start + self.examples_a_pass]
            generators = [generator_of((self._recipe.seed, self.step, place)) for place in part]
            # The backward pass too, which computes activations again where memory is short: by the same kernels.
            with _attention(self.accelerator.device):
                with self.accelerator.autocast():
                    losses = self._trainer.losses([examples[batch[place]] for place in part], generators)
                loss = losses.sum() / len(batch)
                self.accelerator.backward(loss)
            total += loss.item()
        return total

    def _batch(self, count: int) -> list[int]:
        """The step's indices of examples: each as often as the others, in an order drawn anew every time round."""
        first = self.step * self._recipe.batch
        rounds = range(first // count, (first + self._recipe.batch - 1) // count + 1)
        orders = {n: torch.randperm(count, generator=generator_of((self._recipe.seed, "order", n))) for n in rounds}
        places = range(first, first + self._recipe.batch)
        return [int(orders[place // count][place % count]) for place in places]


def generator_of(seed: object) -> torch.Generator:
    """A generator whose numbers follow from `seed`, which is anything with a plain `repr`."""
    digest = hashlib.blake2b(repr(seed).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest) >> 1)


@contextmanager
def _beside_others() -> Iterator[None]:
    """Where ranks meet, all that can go wrong is that one is not there any more."""
    try:
        yield
    except RuntimeError as error:
        raise TrainingFailed("another device's training process ended; its log says why") from error


def _rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine to 1 % of the peak."""
    if step < recipe.warmup:
        return (step + 1) / (recipe.warmup + 1)
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return _FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * progress))


def _precision(device: torch.device) -> str:
    """bfloat16 on a GPU; master weights stay as they are."""
    return "bf16" if device.type == "cuda" else "no"


def _attention(device: torch.device) -> AbstractContextManager[object]:
    """On a CPU the plain products are faster in training than the fused kernel; elsewhere torch chooses well."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


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
