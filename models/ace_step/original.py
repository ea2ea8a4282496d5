"""Converts a model from the authors' layout to that of diffusers.

The authors publish one model with the prefixes `decoder.` (the transformer), `encoder.` (the condition encoder),
`tokenizer.` and `detokenizer.` (the audio tokenizer's two halves), and the silence latent as a file of its own.
"""

from __future__ import annotations

import inspect
import json
import pickle  # nosec B403 - for the class of an error
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from diffusers.models.transformers.ace_step_transformer import AceStepTransformer1DModel
from diffusers.pipelines.ace_step import (
    AceStepAudioTokenDetokenizer,
    AceStepAudioTokenizer,
    AceStepConditionEncoder,
)
from safetensors.torch import save_file

from models.ace_step.sampling import is_turbo
from models.errors import CheckpointError
from models.local_cache import build_once, cache_folder, check_disk
from models.weight_files import StoredTensor, check_tensors, stored_tensors, write_tensors

SILENCE_FILE = "silence_latent.pt"
_SILENCE = "silence_latent"
_PREFIXES = {
    "decoder.": "transformer",
    "encoder.": "condition_encoder",
    "tokenizer.": "audio_tokenizer",
    "detokenizer.": "audio_token_detokenizer",
}
# Parts without which a checkpoint can still do the other tasks.
_OPTIONAL_PARTS = ("audio_tokenizer", "audio_token_detokenizer")
_NULL_CONDITION = "null_condition_emb"
# The authors' name of a module → diffusers'.
_NAMES = {
    ".q_proj.": ".to_q.",
    ".k_proj.": ".to_k.",
    ".v_proj.": ".to_v.",
    ".o_proj.": ".to_out.0.",
    ".q_norm.": ".norm_q.",
    ".k_norm.": ".norm_k.",
    "proj_in.1.": "proj_in_conv.",
    "proj_out.1.": "proj_out_conv.",
}
# Settings that XL has for its condition encoder, which is narrower than its transformer.
_ENCODER_PREFIX = "encoder_"
_WEIGHTS = "diffusion_pytorch_model.safetensors"

Stored = Mapping[str, StoredTensor]


def converted(model: Path, digest: str, variant: str) -> Path:
    """The folder in the cache with a folder for each part, which are converted at the first call.

    Args:
        model: the folder with `config.json`, the weights and `silence_latent.pt`.
        digest: identifies the checkpoint that the model is in.
        variant: the model's name; `turbo` in it counts where the configuration says nothing.

    Raises:
        CheckpointError: a file or tensor is missing or damaged, or the disk is full.
    """
    key = sha256(f"{digest} {model.name} {Path(__file__).read_text()}".encode()).hexdigest()
    target = cache_folder() / "converted" / f"ace_step-{key[:24]}"
    return build_once(target, lambda folder: _convert(model, variant, folder))


def _convert(model: Path, variant: str, folder: Path) -> None:
    try:
        settings = json.loads((model / "config.json").read_text())
        parts = {
            "transformer": _transformer(settings, variant),
            "condition_encoder": _encoder(AceStepConditionEncoder, settings),
            "audio_tokenizer": _encoder(AceStepAudioTokenizer, settings),
            "audio_token_detokenizer": _encoder(AceStepAudioTokenDetokenizer, settings),
        }
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"config.json: {str(error).splitlines()[0]}") from error
    tensors = _by_part(stored_tensors(model))
    parts = {name: module for name, module in parts.items() if tensors[name] or name not in _OPTIONAL_PARTS}
    check_disk(
        sum(each.end - each.start for part in tensors.values() for each in part.values()), folder, "XDG_CACHE_HOME"
    )
    folder.mkdir(parents=True)
    silence = folder / "silence.safetensors"
    save_file({_SILENCE: _silence(model / SILENCE_FILE)}, silence)
    tensors["condition_encoder"] |= stored_tensors(folder)
    for name, module in parts.items():
        shapes = {key: tensor.shape for key, tensor in module.state_dict().items()}
        check_tensors(model, tensors[name], shapes, complete=name not in _OPTIONAL_PARTS)
        module.save_config(folder / name)
        write_tensors(folder / name / _WEIGHTS, {key: tensors[name][key] for key in shapes})
    silence.unlink()


def _transformer(settings: Mapping[str, Any], variant: str) -> Any:
    """The transformer without memory for its weights."""
    wanted = {**settings, "is_turbo": is_turbo(settings, variant)}
    with torch.device("meta"):
        return AceStepTransformer1DModel(**_arguments(AceStepTransformer1DModel, wanted))


def _encoder(kind: type, settings: Mapping[str, Any]) -> Any:
    """The condition encoder, or a half of the audio tokenizer, without memory for its weights."""
    own = {
        name.removeprefix(_ENCODER_PREFIX): value
        for name, value in settings.items()
        if name.startswith(_ENCODER_PREFIX) and value is not None
    }
    # Those of the transformer's layers; the encoders' alternate.
    wanted = {name: value for name, value in {**settings, **own}.items() if name != "layer_types"}
    with torch.device("meta"):
        return kind(**_arguments(kind, wanted))


def _arguments(kind: type, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the constructor takes. The authors' names are the same."""
    taken = inspect.signature(kind).parameters
    return {name: value for name, value in settings.items() if name in taken and value is not None}


def _by_part(stored: Stored) -> dict[str, dict[str, StoredTensor]]:
    """The tensors by part, under diffusers' names."""
    parts: dict[str, dict[str, StoredTensor]] = {name: {} for name in _PREFIXES.values()}
    for name, tensor in stored.items():
        prefix = next((each for each in _PREFIXES if name.startswith(each)), None)
        if prefix:
            parts[_PREFIXES[prefix]][_renamed(name.removeprefix(prefix))] = tensor
        elif name == _NULL_CONDITION:
            parts["condition_encoder"][name] = tensor
        else:
            raise CheckpointError(f"the tensor {name} in {tensor.file.name} has no place in the model")
    return parts


def _renamed(name: str) -> str:
    for theirs, ours in _NAMES.items():
        name = name.replace(theirs, ours)
    return name


def _silence(file: Path) -> torch.Tensor:
    """The silence latent `[1, T, C]`; the file has `[1, C, T]`."""
    if not file.is_file():
        raise CheckpointError(f"it has no {file.name}, without which its music is wrong; download it again")
    try:
        latent = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise CheckpointError(f"{file.name} cannot be read as a tensor: it is damaged, or holds code") from error
    if not isinstance(latent, torch.Tensor) or latent.ndim != 3:
        raise CheckpointError(f"{file.name} is no tensor of three dimensions")
    check_silence(latent)
    return latent.transpose(1, 2).contiguous()


def check_silence(latent: torch.Tensor) -> None:
    """Check that the latent of silence is one.

    Raises:
        CheckpointError: it is flat, such as the zeros that diffusers starts with.
    """
    if not torch.isfinite(latent).all() or latent.amin() == latent.amax():
        raise CheckpointError(
            "its silence_latent is flat, as where a conversion left it out, and its music would be wrong; "
            "convert it again, or use the original"
        )
