"""Converts an adapter file of any supported tool into one of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from adapters.adapter_file import PREFIX, Header, InvalidAdapter, parse_scale, parse_tempo
from adapters.foreign.layers import convert_parts, is_zero, rank_of
from adapters.foreign.names import LayerNames, split_key
from adapters.foreign.peft_settings import read_scaling
from adapters.foreign.scaling import Scaling
from adapters.foreign.sizes import other_width
from adapters.safetensors_header import read_safetensors_header
from adapters.serialization import decode, encode_tensors
from adapters.weights import AdapterWeights, linear_layers

if TYPE_CHECKING:
    from models.base import Model


# Unmatched names after which the search stops: they are enough to explain why.
_MAX_UNMATCHED = 1000


@dataclass(frozen=True)
class Converted:
    """A converted adapter.

    Attributes:
        data: the adapter file.
        weights: the same as a runner loads it.
        notes: assumptions that the user should know of.
    """

    data: bytes
    weights: AdapterWeights
    notes: list[str]

    @property
    def header(self) -> Header:
        return self.weights.header


@dataclass
class _Layer:
    """The tensors of one layer by part, and the layer's name in the file."""

    name_in_file: str
    parts: dict[str, Tensor]


def convert(data: bytes, config: bytes | None, header: Header, model: Model) -> Converted:
    """Convert an adapter, and check it against the model that is served.

    Args:
        data: the safetensors file.
        config: PEFT's `adapter_config.json`, if there is one.
        header: the header of the new file; its `rank` and `sha256` are filled in here, and, if the file is a twin,
            `bpm` and `recommended_scale`.

    Raises:
        InvalidAdapter: the file is damaged, of an unsupported kind, or does not fit the model.
    """
    metadata = read_safetensors_header(data).metadata
    if metadata.get("twin") and metadata.get("base_sha256") != header.base_sha256:
        raise InvalidAdapter(
            f"it is a twin that was trained on another checkpoint ({metadata.get('base')}) than the one served"
        )
    try:
        own = metadata if metadata.get("twin") else {}
        bpm, scale = parse_tempo(own.get("bpm", "")), parse_scale(own.get("recommended_scale", ""))
    except ValueError as error:
        raise InvalidAdapter(f"its header is damaged: {error}") from error
    scaling = read_scaling(config, metadata)
    layers = _layers(_tensors(data), LayerNames(model), scaling)
    if scaling.use_dora and not any(
        {"lora_magnitude_vector", "dora_scale"} & layer.parts.keys() for layer in layers.values()
    ):
        raise InvalidAdapter(
            "its use_dora is true, but it has no magnitudes; save it again with PEFT's save_pretrained"
        )
    shapes = {model.file_name(name): tuple(layer.weight.shape) for name, layer in linear_layers(model.adapted).items()}
    converted: dict[str, Tensor] = {}
    rank = 1
    for module, layer in layers.items():
        out, into = shapes[module]
        reason = other_width(module, layer.parts, (out, into), model.backend)
        if reason:
            raise InvalidAdapter(reason)
        parts = convert_parts(layer.parts, scaling, layer.name_in_file, (out, into))
        rank = max(rank, rank_of(layer.parts) or 1)
        converted |= {f"{PREFIX}{module}.{part}": tensor for part, tensor in parts.items()}
        layer.parts.clear()  # frees memory: an adapter may be large
    zero = is_zero(converted)
    written = encode_tensors(converted, replace(header, rank=rank, bpm=bpm, recommended_scale=scale))
    converted.clear()
    weights = decode(written, model)
    if zero:
        raise InvalidAdapter("all its weights are zero: it would change nothing; send it as it is after training")
    return Converted(written, weights, [] if metadata.get("twin") else scaling.notes)


def _tensors(data: bytes) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise InvalidAdapter("it is not a safetensors file") from error
    return tensors


def _layers(tensors: Mapping[str, Tensor], names: LayerNames, scaling: Scaling) -> dict[str, _Layer]:
    """Group the tensors by layer, under our names of the layers. Alphas are moved to `scaling`."""
    layers: dict[str, _Layer] = {}
    matches: dict[str, str | None] = {}
    unmatched: list[str] = []
    for key, tensor in sorted(tensors.items()):
        module, part = split_key(key) or ("", "")
        if module not in matches:
            matches[module] = names.match(module)
        name = matches[module]
        if name is None:
            unmatched.append(key)
            if len(unmatched) == _MAX_UNMATCHED:
                break
            continue
        layer = layers.setdefault(name, _Layer(module, {}))
        if part in ("alpha", "scalar") and tensor.numel() != 1:
            raise InvalidAdapter(f"{key}: it must be one number")
        if layer.name_in_file != module or part in layer.parts:
            raise InvalidAdapter(f"{key}: the layer is in the file twice; save one adapter alone")
        layer.parts[part] = tensor
    if unmatched:
        raise InvalidAdapter(names.explain_unmatched(unmatched))
    for layer in layers.values():
        alpha = layer.parts.pop("alpha", None)
        if alpha is not None:
            scaling.alphas[layer.name_in_file] = float(alpha)
    found = {name: layer for name, layer in layers.items() if layer.parts}
    if not found:
        raise InvalidAdapter("it holds no adapter weights")
    return found
