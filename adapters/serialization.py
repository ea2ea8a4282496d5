"""Adapter weights to and from adapter files: written by the trainer, read and checked by the runner."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from adapters.adapter_file import (
    LORA_PARTS,
    PREFIX,
    ZERO_DIGEST,
    Header,
    InvalidAdapter,
    header_length,
    module_and_part,
    parse_header,
    sealed_header,
)
from adapters.delta_weights import DeltaWeight, read_delta
from adapters.safetensors_header import read_safetensors_header
from adapters.weights import AdapterWeights, FlatPairs, LoraPair, linear_layers

if TYPE_CHECKING:
    from models.base import Model


_MAX_FILE_RANK = 256
_HEADER_ALLOWANCE = 4 * 2**20  # bytes


def largest_file(model: Model) -> int:
    """Size limit of adapter files in bytes: the larger of rank 256 on every layer and the layers' weights, float32."""
    layers = linear_layers(model.adapted).values()
    by_rank = _MAX_FILE_RANK * sum(layer.in_features + layer.out_features for layer in layers)
    return _HEADER_ALLOWANCE + 4 * max(by_rank, sum(layer.weight.numel() for layer in layers))


def encode(header: Header, pairs: Mapping[str, LoraPair], model: Model) -> bytes:
    """Make the adapter file of LoRA pairs. `header.sha256` is filled in here."""
    tensors: dict[str, torch.Tensor] = {}
    for module, pair in pairs.items():
        name = PREFIX + model.file_name(module)
        tensors[f"{name}.lora_A.weight"] = pair.a.T.float().cpu()
        tensors[f"{name}.lora_B.weight"] = pair.b.T.float().cpu()
    return encode_tensors(tensors, header)


def encode_tensors(tensors: dict[str, torch.Tensor], header: Header) -> bytes:
    """Make the adapter file of tensors that have their final names and scale. `header.sha256` is filled in here."""
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    plain = save(tensors, replace(header, sha256=ZERO_DIGEST).to_metadata())
    end = 8 + header_length(plain)
    content = memoryview(plain)[end:]
    field = b'"sha256":"%b"'
    named = plain[8:end].replace(field % ZERO_DIGEST.encode(), field % hashlib.sha256(content).hexdigest().encode())
    return b"".join([plain[:8], sealed_header(named), content])


def decode(data: bytes, model: Model) -> AdapterWeights:
    """Read an adapter file and check it against `model`. LoRA pairs get the model's device and dtype.

    Raises:
        InvalidAdapter: the file is damaged, belongs to another backend, or has a layer that the model lacks.
    """
    length = header_length(data)
    header = parse_header(data[8 : 8 + length], len(data))
    if header.backend != model.backend:
        raise InvalidAdapter(f"it was trained for {header.backend}, not for {model.backend}")
    if hashlib.sha256(memoryview(data)[8 + length :]).hexdigest() != header.sha256:
        raise InvalidAdapter("its contents do not match its digest")
    read_safetensors_header(data)
    layers = {model.file_name(name): (name, layer) for name, layer in linear_layers(model.adapted).items()}
    parts: dict[str, dict[str, torch.Tensor]] = {}
    try:
        tensors = load(data)
    except (SafetensorError, KeyError) as error:  # the digests match, so the file was written like this
        raise InvalidAdapter("it is not a safetensors file") from error
    for key, tensor in sorted(tensors.items()):
        module, part = module_and_part(key)
        if not part or module not in layers:
            raise InvalidAdapter(f"{key} matches nothing in {model.backend}")
        if not torch.isfinite(tensor).all():
            raise InvalidAdapter(f"{module} holds values that are not finite")
        parts.setdefault(module, {})[part] = tensor
    pairs: dict[str, LoraPair] = {}
    deltas: dict[str, DeltaWeight] = {}
    device, dtype = model.device, model.dtype  # read once: diffusers searches the whole model each time
    for module, own in parts.items():
        name, layer = layers[module]
        if own.keys() <= LORA_PARTS:
            pair = _pair(module, own, layer)
            pairs[name] = LoraPair(pair.a.to(device, dtype), pair.b.to(device, dtype))
        else:
            deltas[name] = read_delta(module, own, layer)
    return AdapterWeights(header, FlatPairs.of(pairs) if pairs else pairs, deltas)


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
