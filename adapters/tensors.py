"""Adapter weights: written by the trainer, read and checked by the runner."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from adapters.adapter_file import (
    PREFIX,
    Header,
    InvalidAdapter,
    header_length,
    module_and_part,
    parse_header,
    sealed_header,
)
from adapters.tensor_table import read_table
from adapters.weight_changes import Change
from adapters.weight_changes import read as read_change

if TYPE_CHECKING:
    from models.base import Model


# The largest that real adapters have; and what a file's table takes.
_LARGE_RANK = 128
_OVERHEAD = 4 * 2**20
_NO_DIGEST = "0" * 64


@dataclass(frozen=True)
class LoraPair:
    """One layer's adapter, ready to be applied: `y += (x @ a) @ b`.

    Attributes:
        a: `[in, rank]`.
        b: `[rank, out]`, alpha / rank folded in.
    """

    a: torch.Tensor
    b: torch.Tensor


Shape = tuple[int, int, int]  # in, rank, out


class FlatPairs(Mapping[str, LoraPair]):
    """Pairs whose matrices lie end to end in one tensor, so that those of like adapters are copied as a whole.

    Attributes:
        shapes: of each layer's pair, by name, which is the order in which they lie: `a`, then `b`.
        flat: `[…, size]`. The matrices are views of it and have its leading dimensions.
    """

    def __init__(self, shapes: Mapping[str, Shape], flat: torch.Tensor) -> None:
        self.shapes, self.flat = shapes, flat

    @classmethod
    def of(cls, pairs: Mapping[str, LoraPair]) -> FlatPairs:
        """The same pairs, at least one, in a tensor of their own."""
        shapes = {name: (*pair.a.shape, pair.b.shape[1]) for name, pair in sorted(pairs.items())}
        return cls(shapes, torch.cat([part.flatten() for name in shapes for part in (pairs[name].a, pairs[name].b)]))

    @staticmethod
    def size(shapes: Mapping[str, Shape]) -> int:
        """How many values they take."""
        return sum(rank * (inputs + outputs) for inputs, rank, outputs in shapes.values())

    @cached_property
    def _pairs(self) -> dict[str, LoraPair]:
        sizes = [size for inputs, rank, outputs in self.shapes.values() for size in (inputs * rank, rank * outputs)]
        parts = iter(self.flat.split(sizes, dim=-1))
        return {
            name: LoraPair(next(parts).unflatten(-1, (inputs, rank)), next(parts).unflatten(-1, (rank, outputs)))
            for name, (inputs, rank, outputs) in self.shapes.items()
        }

    def __getitem__(self, name: str) -> LoraPair:
        return self._pairs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


@dataclass(frozen=True)
class AdapterWeights:
    """An adapter that was checked against a model.

    Attributes:
        header: whose it is.
        pairs: module name of `model.adapted` → its pair.
        changes: the same for layers that it changes in another way; they keep its row from mixing with others.
    """

    header: Header
    pairs: Mapping[str, LoraPair]
    changes: Mapping[str, Change] = field(default_factory=dict)

    @cached_property
    def nbytes(self) -> int:
        pairs = sum(pair.a.nbytes + pair.b.nbytes for pair in self.pairs.values())
        return pairs + sum(change.nbytes for change in self.changes.values())


def linear_layers(root: torch.nn.Module) -> dict[str, torch.nn.Linear]:
    """The Linear layers under `root` by name, those that adapters may change."""
    return {name: module for name, module in root.named_modules() if isinstance(module, torch.nn.Linear)}


def largest_file(model: Model) -> int:
    """Bytes of the largest adapter file that is read: twice rank 128 on every layer, or all its weights, in float32."""
    layers = linear_layers(model.adapted).values()
    by_rank = 2 * _LARGE_RANK * sum(layer.in_features + layer.out_features for layer in layers)
    return _OVERHEAD + 4 * max(by_rank, sum(layer.weight.numel() for layer in layers))


def encode(header: Header, pairs: Mapping[str, LoraPair], model: Model) -> bytes:
    """The adapter file as bytes. `header.sha256` is filled in here."""
    tensors: dict[str, torch.Tensor] = {}
    for module, pair in pairs.items():
        name = PREFIX + model.file_name(module)
        tensors[f"{name}.lora_A.weight"] = pair.a.T.float().cpu()
        tensors[f"{name}.lora_B.weight"] = pair.b.T.float().cpu()
    return write(tensors, header)


def write(tensors: dict[str, torch.Tensor], header: Header) -> bytes:
    """The file of tensors that have its names and its scale. `header.sha256` is filled in here."""
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    plain = save(tensors, replace(header, sha256=_NO_DIGEST).to_metadata())
    end = 8 + header_length(plain)
    content = memoryview(plain)[end:]
    field = b'"sha256":"%b"'
    named = plain[8:end].replace(field % _NO_DIGEST.encode(), field % hashlib.sha256(content).hexdigest().encode())
    return b"".join([plain[:8], sealed_header(named), content])


def decode(data: bytes, model: Model) -> AdapterWeights:
    """Read an adapter file and fit it to `model`, on its device and in its dtype.

    Raises:
        InvalidAdapter: the file is damaged, belongs to another backend, or has a layer that the model lacks.
    """
    length = header_length(data)
    header = parse_header(data[8 : 8 + length], len(data))
    if header.backend != model.backend:
        raise InvalidAdapter(f"it was trained for {header.backend}, not for {model.backend}")
    if hashlib.sha256(memoryview(data)[8 + length :]).hexdigest() != header.sha256:
        raise InvalidAdapter("its contents do not match its digest")
    read_table(data)
    layers = {model.file_name(name): (name, layer) for name, layer in linear_layers(model.adapted).items()}
    parts: dict[str, dict[str, torch.Tensor]] = {}
    try:
        tensors = load(data)
    except (SafetensorError, KeyError) as error:  # the digests are right: it was made so
        raise InvalidAdapter("it is not a safetensors file") from error
    for key, tensor in sorted(tensors.items()):
        module, part = module_and_part(key)
        if not part or module not in layers:
            raise InvalidAdapter(f"{key} matches nothing in {model.backend}")
        if not torch.isfinite(tensor).all():
            raise InvalidAdapter(f"{module} holds values that are not finite")
        parts.setdefault(module, {})[part] = tensor
    pairs: dict[str, LoraPair] = {}
    changes: dict[str, Change] = {}
    device, dtype = model.device, model.dtype  # diffusers looks through all of the model for each
    for module, own in parts.items():
        name, layer = layers[module]
        if own.keys() <= {"lora_A.weight", "lora_B.weight"}:
            pair = _pair(module, own, layer)
            pairs[name] = LoraPair(pair.a.to(device, dtype), pair.b.to(device, dtype))
        else:
            changes[name] = read_change(module, own, layer)
    return AdapterWeights(header, FlatPairs.of(pairs) if pairs else pairs, changes)


def read(path: Path, model: Model) -> AdapterWeights:
    """`decode` of a file."""
    return decode(path.read_bytes(), model)


def _pair(module: str, parts: Mapping[str, torch.Tensor], layer: torch.nn.Linear) -> LoraPair:
    if len(parts) != 2:
        raise InvalidAdapter(f"{module} has only one half of its adapter")
    a, b = parts["lora_A.weight"], parts["lora_B.weight"]
    if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
        raise InvalidAdapter(f"{module}: lora_A {tuple(a.shape)} and lora_B {tuple(b.shape)} do not fit together")
    if (b.shape[0], a.shape[1]) != (layer.out_features, layer.in_features):
        raise InvalidAdapter(
            f"{module} is for a layer of {a.shape[1]} → {b.shape[0]}, the model's has "
            f"{layer.in_features} → {layer.out_features}"
        )
    return LoraPair(a.T, b.T)
