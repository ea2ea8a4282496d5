"""Adapter weights: written by the trainer, read and checked by the runner."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load, save

from models.adapter_file import PREFIX, Header, InvalidAdapter, header_length, parse_header, seal

if TYPE_CHECKING:
    from models.base import Model


@dataclass(frozen=True)
class LoraPair:
    """One layer's adapter, ready to be applied: `y += (x @ a) @ b`.

    Attributes:
        a: `[in, rank]`.
        b: `[rank, out]`, alpha / rank folded in.
    """

    a: torch.Tensor
    b: torch.Tensor


@dataclass(frozen=True)
class AdapterWeights:
    """An adapter that was checked against a model: module name of `model.adapted` → its pair."""

    header: Header
    pairs: Mapping[str, LoraPair]


def linear_layers(root: torch.nn.Module) -> dict[str, torch.nn.Linear]:
    """The Linear layers under `root` by name, those that adapters may change."""
    return {name: module for name, module in root.named_modules() if isinstance(module, torch.nn.Linear)}


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
    plain = save(tensors)
    digest = hashlib.sha256(plain[8 + header_length(plain) :]).hexdigest()
    return seal(save(tensors, replace(header, sha256=digest).to_metadata()))


def decode(data: bytes, model: Model) -> AdapterWeights:
    """Read an adapter file and fit it to `model`, on its device and in its dtype.

    Raises:
        InvalidAdapter: the file is damaged, belongs to another backend, or has a layer that the model lacks.
    """
    length = header_length(data)
    header = parse_header(data[8 : 8 + length], len(data))
    if header.backend != model.backend:
        raise InvalidAdapter(f"it was trained for {header.backend}, not for {model.backend}")
    if hashlib.sha256(data[8 + length :]).hexdigest() != header.sha256:
        raise InvalidAdapter("its contents do not match its digest")
    tensors = load(data)
    layers = {model.file_name(name): (name, layer) for name, layer in linear_layers(model.adapted).items()}
    pairs: dict[str, LoraPair] = {}
    for key in sorted(tensors):
        module, _, kind = key.removeprefix(PREFIX).rpartition(".lora_")
        if kind not in ("A.weight", "B.weight") or module not in layers:
            raise InvalidAdapter(f"{key} matches nothing in {model.backend}")
        if kind == "B.weight":
            continue
        name, layer = layers[module]
        pairs[name] = _pair(module, tensors, layer, model)
    if len(pairs) * 2 != len(tensors):
        raise InvalidAdapter("some of its layers have only one half")
    return AdapterWeights(header, pairs)


def read(path: Path, model: Model) -> AdapterWeights:
    """`decode` of a file."""
    return decode(path.read_bytes(), model)


def _pair(module: str, tensors: Mapping[str, torch.Tensor], layer: torch.nn.Linear, model: Model) -> LoraPair:
    a = tensors[f"{PREFIX}{module}.lora_A.weight"]
    b = tensors.get(f"{PREFIX}{module}.lora_B.weight")
    if b is None:
        raise InvalidAdapter(f"{module} has no lora_B")
    if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
        raise InvalidAdapter(f"{module}: lora_A {tuple(a.shape)} and lora_B {tuple(b.shape)} do not fit together")
    if (b.shape[0], a.shape[1]) != (layer.out_features, layer.in_features):
        raise InvalidAdapter(
            f"{module} is for a layer of {a.shape[1]} → {b.shape[0]}, the model's has "
            f"{layer.in_features} → {layer.out_features}"
        )
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise InvalidAdapter(f"{module} holds values that are not finite")
    return LoraPair(
        a.T.to(model.device, model.dtype).contiguous(),
        b.T.to(model.device, model.dtype).contiguous(),
    )
