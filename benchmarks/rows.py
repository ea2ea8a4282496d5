"""Rows with another adapter each, against the base model's batch and against the stock pipeline one by one.

    python -m benchmarks.rows [--rounds 9] [--mlp]

A transformer of ACE-Step's architecture with random weights, eight requests of 10 s with eight rank-16 adapters, one
denoising step without guidance, one thread.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable

import torch
from diffusers.models.transformers.ace_step_transformer import AceStepTransformer1DModel
from peft import LoraConfig
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.measure import interleaved, ratio
from models.ace_step import packed
from models.adapters import LoraPair, linear_layers

ROWS, SECONDS, RANK, TEXT = 8, 10, 16, 64
FRAMES = 25 * SECONDS
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
MLP = ("gate_proj", "up_proj", "down_proj")
# What moves no data on a device is not launched there.
_VIEWS = ("view", "reshape", "transpose", "permute", "slice", "select", "unsqueeze", "squeeze", "split", "expand", "t")


def build(hidden: int, layers: int) -> AceStepTransformer1DModel:
    torch.manual_seed(0)
    return (
        AceStepTransformer1DModel(
            hidden_size=hidden,
            intermediate_size=3 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=hidden // 64,
            num_key_value_heads=hidden // 128,
            head_dim=64,
            encoder_hidden_size=hidden,
        )
        .eval()
        .requires_grad_(False)
    )


def adapter(model: AceStepTransformer1DModel, targets: tuple[str, ...], seed: int) -> dict[str, LoraPair]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: LoraPair(
            torch.randn(layer.in_features, RANK, generator=generator) * 0.02,
            torch.randn(RANK, layer.out_features, generator=generator) * 0.02,
        )
        for name, layer in linear_layers(model).items()
        if name.endswith(targets) and "layers." in name
    }


class _Count(TorchDispatchMode):
    """Counts the operations that a device would launch."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        name = func.__name__.split(".")[0]
        if not name.startswith(_VIEWS):
            self.operations[name] += 1
        return func(*args, **(kwargs or {}))


def operations(way: Callable[[], object]) -> int:
    with _Count() as count:
        way()
    return count.operations.total()


def _with_adapters(
    model: AceStepTransformer1DModel, adapters: list[dict[str, LoraPair]], targets: tuple[str, ...]
) -> AceStepTransformer1DModel:
    """The stock model with PEFT's adapters `twin0`, `twin1`, …"""
    for number, pairs in enumerate(adapters):
        name = f"twin{number}"
        model.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(targets)), adapter_name=name)
        layers = dict(model.named_modules())
        for layer, pair in pairs.items():
            layers[f"{layer}.lora_A.{name}"].weight.copy_(pair.a.T)
            layers[f"{layer}.lora_B.{name}"].weight.copy_(pair.b.T)
    return model


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--mlp", action="store_true", help="adapters on the MLP too")
    options = parser.parse_args()
    torch.set_num_threads(1)

    model = build(options.hidden, options.layers)
    targets = ATTENTION + (MLP if options.mlp else ())
    adapters = [adapter(model, targets, seed) for seed in range(ROWS)]
    context, condition = torch.randn(1, FRAMES, 128), torch.randn(1, TEXT, options.hidden)
    latents = [torch.randn(1, FRAMES, 64) for _ in range(ROWS)]
    times = [0.5] * ROWS
    base = packed.Pack(model, [packed.stream(model, context, condition, {}) for _ in range(ROWS)])
    mixed = packed.Pack(model, [packed.stream(model, context, condition, pairs) for pairs in adapters])

    stock = _with_adapters(build(options.hidden, options.layers), adapters, targets)
    t = torch.full((1,), 0.5)

    def own() -> list[torch.Tensor]:
        return mixed.velocities(latents, times)

    def one_by_one() -> list[torch.Tensor]:
        results = []
        for number, x in enumerate(latents):
            stock.set_adapter(f"twin{number}")
            results.append(stock(x, t, t, condition, context, return_dict=False)[0])
        return results

    pairs = zip(own(), one_by_one(), strict=True)
    difference = max(((ours - theirs).abs().max() / theirs.std()).item() for ours, theirs in pairs)
    ways = {"base batch": lambda: base.velocities(latents, times), "own batch": own, "stock one by one": one_by_one}
    taken = interleaved(ways, options.rounds)
    counted = {name: operations(way) for name, way in ways.items()}
    print(f"hidden {options.hidden}, {options.layers} layers, {'attention and MLP' if options.mlp else 'attention'}")
    print(f"largest difference to the stock model, of its deviation: {difference:.1e}")
    print(f"{'':18}{'time / base batch':>22}{'operations / base batch':>26}")
    for name in ways:
        counts = counted[name] / counted["base batch"]
        print(f"{name:18}{ratio(taken, name, 'base batch')!s:>22}{counts:>26.2f}")
    print(
        f"throughput of the own batch against the base batch: {1 / ratio(taken, 'own batch', 'base batch').median:.2f}"
    )


if __name__ == "__main__":
    main()
