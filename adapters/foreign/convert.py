"""From an adapter file of any known origin to one of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from adapters.adapter_file import PREFIX, Header, InvalidAdapter
from adapters.foreign.layers import changes_nothing, folded, rank_of
from adapters.foreign.names import LayerNames, split
from adapters.foreign.scale import Scale, read_scale
from adapters.tensor_table import read_table
from adapters.tensors import AdapterWeights, decode, linear_layers, write

if TYPE_CHECKING:
    from models.base import Model


# So many names that match nothing are enough to know why.
_MAX_UNKNOWN = 1000


@dataclass(frozen=True)
class Adopted:
    """An adapter in our form.

    Attributes:
        data: the file.
        weights: what a runner makes of it.
        notes: what had to be taken for granted.
    """

    data: bytes
    weights: AdapterWeights
    notes: list[str]

    @property
    def header(self) -> Header:
        return self.weights.header


@dataclass
class _Layer:
    """What a file has of one layer. `spelled`: its name there."""

    spelled: str
    parts: dict[str, Tensor]


def adopt(data: bytes, config: bytes | None, header: Header, model: Model) -> Adopted:
    """Bring an adapter into our form, and check it against the model that is served.

    Args:
        data: the safetensors file.
        config: PEFT's `adapter_config.json`, where there is one.
        header: whose it shall be; its `rank` and `sha256` are filled in here.

    Raises:
        InvalidAdapter: it is damaged, of a kind that cannot be used, or does not fit; with the reason.
    """
    table = read_table(data)
    metadata = table.metadata
    if metadata.get("twin") and metadata.get("base_sha256") != header.base_sha256:
        raise InvalidAdapter(
            f"it is a twin that was trained on another checkpoint ({metadata.get('base')}) than the one served"
        )
    scale = read_scale(config, metadata)
    layers = _layers(_tensors(data), LayerNames(model), scale)
    if scale.dora and not any(
        {"lora_magnitude_vector", "dora_scale"} & layer.parts.keys() for layer in layers.values()
    ):
        raise InvalidAdapter(
            "its use_dora is true, but it has no magnitudes; save it again with PEFT's save_pretrained"
        )
    shapes = {model.file_name(name): tuple(layer.weight.shape) for name, layer in linear_layers(model.adapted).items()}
    canonical: dict[str, Tensor] = {}
    rank = 1
    for module, layer in layers.items():
        out, into = shapes[module]
        parts = folded(layer.parts, scale, layer.spelled, (out, into))
        rank = max(rank, rank_of(layer.parts) or 1)
        canonical |= {f"{PREFIX}{module}.{part}": tensor for part, tensor in parts.items()}
        layer.parts.clear()  # an adapter may be large: none of it is held twice for longer than it must be
    nothing = changes_nothing(canonical)
    written = write(canonical, replace(header, rank=rank))
    canonical.clear()
    weights = decode(written, model)
    if nothing:
        raise InvalidAdapter("all its weights are zero: it would change nothing; send it as it is after training")
    return Adopted(written, weights, [] if metadata.get("twin") else scale.notes)


def _tensors(data: bytes) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise InvalidAdapter("it is not a safetensors file") from error
    return tensors


def _layers(tensors: Mapping[str, Tensor], names: LayerNames, scale: Scale) -> dict[str, _Layer]:
    """The tensors by our names of their layers; their alphas go into `scale`."""
    layers: dict[str, _Layer] = {}
    ours: dict[str, str | None] = {}
    unknown: list[str] = []
    for key, tensor in sorted(tensors.items()):
        module, part = split(key) or ("", "")
        if module not in ours:
            ours[module] = names.ours(module)
        name = ours[module]
        if name is None:
            unknown.append(key)
            if len(unknown) == _MAX_UNKNOWN:
                break
            continue
        layer = layers.setdefault(name, _Layer(module, {}))
        if part in ("alpha", "scalar") and tensor.numel() != 1:
            raise InvalidAdapter(f"{key}: it must be one number")
        if layer.spelled != module or part in layer.parts:
            raise InvalidAdapter(f"{key}: the layer is in the file twice; save one adapter alone")
        layer.parts[part] = tensor
    if unknown:
        raise InvalidAdapter(names.why_not(unknown))
    for layer in layers.values():
        alpha = layer.parts.pop("alpha", None)
        if alpha is not None:
            scale.alphas[layer.spelled] = float(alpha)
    found = {name: layer for name, layer in layers.items() if layer.parts}
    if not found:
        raise InvalidAdapter("it holds no adapter weights")
    return found
