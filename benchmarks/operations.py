"""Number of GPU kernels for a step, at the sizes of the real checkpoints: with adapters against without.

    python -m benchmarks.operations

Nothing is computed: the tensors are fake, and no GPU is needed. Views and allocations launch no kernel and are not
counted; an attention kernel is one operation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import torch
from diffusers.models.transformers.ace_step_transformer import AceStepTransformer1DModel
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import MusicgenDecoderConfig, MusicgenForCausalLM

from adapters.batched_lora import Pairs
from adapters.weights import LoraPair, linear_layers
from models.ace_step import attention, packed
from models.int8_linear import quantise
from models.musicgen.decoder import Decoder, begin_row

# Operations that move no data, and so launch no kernel.
_LAUNCHES_NOTHING = frozenset(
    (
        *("view", "view_as", "_unsafe_view", "reshape", "transpose", "permute", "t", "slice", "select", "narrow"),
        *("unsqueeze", "squeeze", "split", "split_with_sizes", "chunk", "unbind", "expand", "as_strided"),
        *("flatten", "unflatten", "alias", "detach", "detach_", "lift_fresh", "device", "empty", "new_empty"),
    )
)

RANK = 16
ACE_STEP = ("to_q", "to_k", "to_v", "to_out.0", "gate_proj", "up_proj", "down_proj")
MUSICGEN = ("q_proj", "k_proj", "v_proj", "out_proj")
_COPIES = ("_to_copy", "copy_", "to")
SIZES_2B = {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 24}


@dataclass
class Launched(TorchDispatchMode):
    """Counts operations, and transfers that block the thread.

    Attributes:
        operations: by name.
        waits: transfers between host and device through memory that is not pinned.
    """

    operations: Counter[str] = field(default_factory=Counter)
    waits: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.split(".")[0]
        # torch has no fake implementation of it with a generator.
        skipped = name == "exponential_" and isinstance(args[0], FakeTensor)
        result = args[0] if skipped else func(*args, **(kwargs or {}))
        if (kwargs or {}).get("pin_memory"):
            result.pinned = True  # fake tensors do not record it
        if name in _LAUNCHES_NOTHING:
            return result
        self.operations[name] += 1
        tensors = [each for each in (*args, result) if isinstance(each, Tensor)]
        crosses = len({each.device.type for each in tensors if each.dim()}) > 1 and name in _COPIES
        if crosses and not any(each.device.type == "cpu" and getattr(each, "pinned", False) for each in tensors):
            self.waits.append(str(func))
        return result


def count(run: Callable[[], object]) -> int:
    """The number of kernels that a device would launch for `run`."""
    with Launched() as launched:
        run()
    return launched.operations.total()


@contextmanager
def pretended(dtype: torch.dtype = torch.bfloat16, varlen: bool = True) -> Iterator[torch.device]:
    """Fake tensors on a GPU with, or without, flash attention."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with (
            FakeTensorMode(),
            torch.no_grad(),
            mock.patch.object(attention, "has_varlen", lambda *_: varlen),
            torch.device("cuda"),
        ):
            yield torch.device("cuda")
    finally:
        torch.set_default_dtype(before)


def pairs(root: torch.nn.Module, targets: tuple[str, ...]) -> Pairs:
    """Fake pairs of rank 16 on the layers of those names."""
    return {
        name: LoraPair(torch.empty(layer.in_features, RANK), torch.empty(RANK, layer.out_features))
        for name, layer in linear_layers(root).items()
        if name.endswith(targets) and "layers." in name
    }


def ace_step(seconds: Sequence[float], targets: tuple[str, ...] = (), int8: bool = False, **sizes: int) -> Launched:
    """One step of rows of those lengths through ACE-Step's transformer."""
    transformer = AceStepTransformer1DModel(**{**SIZES_2B, **sizes}).eval().requires_grad_(False)
    if int8:
        quantise(transformer.layers)
    adapted = pairs(transformer, targets)
    frames = [round(25 * each) for each in seconds]
    first = packed.stream(transformer, torch.empty(1, frames[0], 128), torch.empty(1, 256, 2048), adapted)
    streams = [replace(first, context=torch.empty(1, count, 128)) for count in frames]
    pack = packed.Pack(transformer, streams)
    latents, times = [torch.empty(1, count, 64) for count in frames], torch.empty(len(frames))
    with torch.inference_mode(), Launched() as launched:
        pack.velocities(latents, times)
    return launched


def musicgen(rows: int, targets: tuple[str, ...] = (), layers: int = 24) -> Launched:
    """One token of rows through MusicGen-small's decoder."""
    config = MusicgenDecoderConfig(
        vocab_size=2048, hidden_size=1024, num_hidden_layers=layers, num_attention_heads=16, ffn_dim=4096
    )
    model = MusicgenForCausalLM(config).eval().requires_grad_(False)
    first = begin_row(model, torch.empty(20, 1024), pairs(model, targets), {})
    decoder = Decoder(model, [replace(first) for _ in range(rows)], 504)
    codes, at = torch.empty(rows, 4, dtype=torch.long), torch.empty(rows, dtype=torch.long)
    with torch.inference_mode(), Launched() as launched:
        decoder.step(codes, at, 100)
    return launched


def main() -> None:
    mixed = (10.0, 20.0, 30.0, 41.0, 50.0, 60.0, 70.0, 83.0)
    with pretended():
        figures = {
            "ACE-Step 2B, a step of one row": ace_step([60.0]),
            "of 8 rows": ace_step([10.0] * 8),
            "of 8 rows, 8 adapters on attention": ace_step([10.0] * 8, ACE_STEP[:4]),
            "of 8 rows, 8 adapters on attention and MLP": ace_step([10.0] * 8, ACE_STEP),
            "the same, of 10 to 83 s": ace_step(mixed, ACE_STEP),
            "ACE-Step 2B with int8 weights, a step of one row": ace_step([60.0], int8=True),
            "MusicGen-small, a token's logits for one row": musicgen(1),
            "for 8 rows, 8 adapters on attention": musicgen(8, MUSICGEN),
        }
    for name, launched in figures.items():
        print(f"{name:<50}{launched.operations.total():>6}")


if __name__ == "__main__":
    main()
