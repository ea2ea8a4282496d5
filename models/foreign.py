"""Adapters made elsewhere, brought into the one form that is used here (models/adapter_file.py).

Known are PEFT folders (the original ACE-Step's among them), diffusers' files, and ComfyUI's and kohya's names. What
they have in common is a pair of matrices a layer; they differ in what they call it and in where its scale is written.
What is not understood is refused: a part that is left out in silence is how adapters come to have half their effect.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from models.adapter_file import PREFIX, Header, InvalidAdapter, header_length
from models.adapters import decode, linear_layers, write

if TYPE_CHECKING:
    from models.base import Model

# How files of different origin name what they change; a name may carry several of these.
_PREFIXES = ("base_model.model.", "model.diffusion_model.", "diffusion_model.", "transformer.", "decoder.", "model.")
_FLAT_PREFIXES = ("lora_unet_", "lora_transformer_", "lora_decoder_", "lycoris_")
# The last part of a tensor's name: which of an adapter's matrices it is. PEFT may put the adapter's name within.
_PART = re.compile(
    r"^(?P<module>.+?)\.(?:(?P<lora>lora_A|lora_B|lora_down|lora_up|lora\.down|lora\.up)(?:\.\w+)?\.weight"
    r"|(?P<dora>lora_magnitude_vector)(?:\.\w+)*"
    r"|(?P<other>hada_w[12]_[ab]|lokr_w[12](?:_[ab])?)(?:\.\w+)?|(?P<alpha>alpha))$"
)
_OURS = {
    **dict.fromkeys(("lora_A", "lora_down", "lora.down"), "lora_A.weight"),
    **dict.fromkeys(("lora_B", "lora_up", "lora.up"), "lora_B.weight"),
}
# What a layer may be called, and what no strength is as large as.
_LAYER = re.compile(r"[\w.-]{1,300}")
_MOST = 1e9
# The part that the scale goes into.
_SCALED = ("lora_B.weight", "hada_w1_a", "lokr_w1", "lokr_w1_a")


@dataclass(frozen=True)
class Adopted:
    """An adapter in our form. `notes` say what had to be taken for granted."""

    data: bytes
    header: Header
    notes: list[str]


@dataclass
class _Scale:
    """Where a file says how strong its layers are: alpha / rank, by a configuration or a tensor a layer."""

    config: Mapping[str, Any]
    alphas: Mapping[str, float]

    def of(self, module: str, rank: int) -> float:
        if module in self.alphas:
            return self.alphas[module] / rank
        alpha = self._by_pattern("alpha_pattern", module, self.config.get("lora_alpha", self.config.get("alpha")))
        if alpha is None:
            return 1.0
        return float(alpha) / (sqrt(rank) if self.config.get("use_rslora") else rank)

    def _by_pattern(self, name: str, module: str, otherwise: Any) -> Any:
        for layer, value in (self.config.get(name) or {}).items():
            if module == layer or module.endswith(f".{layer}"):
                return value
        return otherwise


def adopt(data: bytes, config: bytes | None, header: Header, model: Model) -> Adopted:
    """Bring an adapter into our form, and check it against the model that is served.

    Args:
        data: the safetensors file.
        config: PEFT's `adapter_config.json`, where there is one.
        header: whose it shall be; its `rank` and `sha256` are filled in here.

    Raises:
        InvalidAdapter: it is damaged, of a kind that cannot be used, or does not fit; with the reason.
    """
    tensors, metadata = _read(data)
    if metadata.get("twin") and metadata.get("base_sha256") != header.base_sha256:
        raise InvalidAdapter(
            f"it is a twin that was trained on another checkpoint ({metadata.get('base')}) than the one served"
        )
    settings = _settings(config, metadata)
    names = _Names(model)
    parts: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    spelled: dict[str, str] = {}
    alphas: dict[str, float] = {}
    unknown: list[str] = []
    for key, tensor in sorted(tensors.items()):
        found = _PART.match(key)
        module = names.ours(found["module"]) if found else None
        if found is None or module is None:
            unknown.append(key)
        elif found["alpha"]:
            if tensor.numel() != 1:
                raise InvalidAdapter(f"{key}: it must be one number")
            alphas[found["module"]] = float(tensor)
        else:
            part = _OURS.get(found["lora"] or "") or found["dora"] or found["other"]
            if part in parts[module]:
                raise InvalidAdapter(f"{key}: the layer is in the file twice")
            parts[module][part], spelled[module] = tensor, found["module"]
    if unknown:
        raise InvalidAdapter(_strange(unknown, model))
    if not parts:
        raise InvalidAdapter("it holds no adapter weights")
    scale = _Scale(settings, alphas)
    canonical: dict[str, torch.Tensor] = {}
    rank = 0
    for module, own in parts.items():
        rank = max(rank, _rank(own))
        canonical |= {
            f"{PREFIX}{module}.{part}": tensor for part, tensor in _folded(own, scale, spelled[module]).items()
        }
    written = write(canonical, replace(header, rank=rank))
    fitted = decode(written, model).header
    if not any(bool(tensor.any()) for key, tensor in canonical.items() if key.endswith(_SCALED)):
        raise InvalidAdapter("all its weights are zero: it would change nothing")
    notes = []
    if not alphas and not settings and not metadata.get("twin"):
        notes.append("no alpha is given in the file, so it was taken to equal the rank")
    return Adopted(written, fitted, notes)


class _Names:
    """The model's layers by every name that files give them."""

    def __init__(self, model: Model) -> None:
        self._known: dict[str, str] = {}
        for module in linear_layers(model.adapted):
            name = model.file_name(module)
            for spelling in (module, name):
                self._known[spelling] = name
                self._known[spelling.replace(".", "_")] = name

    def ours(self, module: str) -> str | None:
        """The name in our files, None if the model has no such layer."""
        while module not in self._known:
            for prefix in (*_PREFIXES, *_FLAT_PREFIXES):
                if module.startswith(prefix):
                    module = module.removeprefix(prefix)
                    break
            else:
                return None
        return self._known[module]


def _read(data: bytes) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        tensors = load(data)
        metadata = json.loads(data[8 : 8 + header_length(data)]).get("__metadata__", {})
    except (SafetensorError, InvalidAdapter, ValueError, KeyError, RecursionError) as error:
        raise InvalidAdapter("it is not a whole safetensors file; pickled files (.bin, .pt) are not read") from error
    return tensors, metadata


def _settings(config: bytes | None, metadata: Mapping[str, str]) -> dict[str, Any]:
    """PEFT's configuration, from its own file or from the header, where diffusers puts it."""
    try:
        found = json.loads(config or metadata.get("lora_adapter_metadata") or "{}")
    except (ValueError, RecursionError) as error:
        raise InvalidAdapter("its adapter_config.json is not valid JSON") from error
    if not isinstance(found, dict):
        raise InvalidAdapter("its adapter_config.json is not an object")
    # Diffusers writes `transformer.lora_alpha`.
    found = {name.rpartition(".")[2]: value for name, value in found.items()}
    kind = found.get("peft_type", "LORA")
    if kind not in ("LORA", "LOHA", "LOKR"):
        raise InvalidAdapter(f"it is of the kind {kind}; LORA, LOHA and LOKR can be used")
    if found.get("modules_to_save"):
        raise InvalidAdapter("it comes with whole layers of its own (modules_to_save), which cannot be used")
    if found.get("bias", "none") != "none":
        raise InvalidAdapter("it changes biases as well, which cannot be used")
    for name in ("lora_alpha", "alpha"):
        if found.get(name) is not None:
            found[name] = _number(name, found[name])
    if found.get("alpha_pattern"):
        found["alpha_pattern"] = _by_layer("alpha_pattern", found["alpha_pattern"])
    return found


def _by_layer(name: str, given: Any) -> dict[str, float]:
    """What is said of some layers, by their names. PEFT takes regular expressions too, which a stranger may make such
    that they are searched for ever."""
    if not isinstance(given, dict):
        raise InvalidAdapter(f"its {name} is not an object")
    found = {}
    for pattern, value in given.items():
        layer = pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
        if not _LAYER.fullmatch(layer):
            raise InvalidAdapter(f"its {name} has {pattern[:100]!r}; only names of layers can be used there")
        found[layer] = _number(name, value)
    return found


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MOST:
        raise InvalidAdapter(f"its {name} is not a number that can be used")
    return float(value)


def _strange(unknown: list[str], model: Model) -> str:
    """Why a file with such tensors is refused."""
    first, more = unknown[0][:120], f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
    if any("dora_scale" in key for key in unknown):
        return f"{first}{more}: DoRA in kohya's form cannot be used; save it as a PEFT folder"
    return f"{first}{more} matches nothing in {model.backend}; it was made for another model or another part of it"


def _rank(parts: Mapping[str, torch.Tensor]) -> int:
    """The inner dimension. A product of whole matrices has none, and counts as 1."""
    for part in ("lora_A.weight", "hada_w1_b", "lokr_w1_b", "lokr_w2_b"):
        if part in parts:
            if parts[part].ndim < 2 or not parts[part].numel():
                raise InvalidAdapter(f"its {part} is no matrix")
            return int(parts[part].shape[0])
    return 1


def _folded(parts: dict[str, torch.Tensor], scale: _Scale, spelled: str) -> dict[str, torch.Tensor]:
    """The layer's parts in float32 with the scale folded in, and convolutions of width 1 as the matrices they are."""
    flat = {
        part: tensor.float().flatten(1) if tensor.ndim > 2 and tensor.shape[2:].numel() == 1 else tensor.float()
        for part, tensor in parts.items()
    }
    if "lora_magnitude_vector" in flat:
        flat["lora_magnitude_vector"] = flat["lora_magnitude_vector"].flatten()
    # Whole matrices have no rank for the scale to be of.
    whole = {"lokr_w1", "lokr_w2"} <= flat.keys()
    factor = 1.0 if whole else scale.of(spelled, _rank(flat))
    for part in _SCALED:
        if part in flat:
            flat[part] = flat[part] * factor
            break
    return flat
