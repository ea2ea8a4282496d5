"""Loads a MusicGen checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    MusicgenForConditionalGeneration,
    MusicgenMelodyFeatureExtractor,
    MusicgenMelodyForConditionalGeneration,
    PreTrainedTokenizerBase,
)

from models.checkpoints import Checkpoint, CheckpointError
from models.int8_linear import quantise
from models.memory import WHOLE, MemoryMode, weight_bytes
from models.musicgen.fast_codec import use_fast_codec
from models.musicgen.melody import Melody
from models.offloading import offload
from models.weight_files import check_pickles, stored_tensors

# The codec is too small to be worth it.
_OFFLOADED = "text_encoder"
_CLASSES = {
    "musicgen": MusicgenForConditionalGeneration,
    "musicgen_melody": MusicgenMelodyForConditionalGeneration,
}


def load(
    checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, memory: MemoryMode = WHOLE
) -> tuple[MusicgenForConditionalGeneration, PreTrainedTokenizerBase, Melody | None]:
    """Load the model, frozen, its tokenizer, and, of a melody checkpoint, its conditioner.

    Only the decoder runs in `dtype`. T5 overflows in half precision, and EnCodec takes little time beside the decoder;
    MusicGen's authors keep both in float32 too.

    Raises:
        CheckpointError: the folder holds no MusicGen that transformers can load; or a file is truncated, or a tensor
            missing, for which the library would make up random numbers.
    """
    kind = _model_type(checkpoint.folder)
    try:
        # These name a file that is truncated or missing.
        if any(checkpoint.folder.glob("*.safetensors*")):
            stored_tensors(checkpoint.folder)
        else:
            check_pickles(checkpoint.folder)
        # Loaded from a folder, never from the hub, so there is no revision to pin.
        model, info = _CLASSES.get(kind, MusicgenForConditionalGeneration).from_pretrained(  # nosec B615
            checkpoint.folder, dtype=torch.float32, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder)  # nosec B615
        melody = None
        if kind == "musicgen_melody":
            melody = Melody(model, MusicgenMelodyFeatureExtractor.from_pretrained(checkpoint.folder))  # nosec B615
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint.name}: {error}") from error
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{checkpoint.name}: not a MusicGen checkpoint: {_reason(error)}") from error
    if model.config.model_type not in _CLASSES:
        raise CheckpointError(f"{checkpoint.name}: not a MusicGen checkpoint but a {model.config.model_type} one")
    if info["missing_keys"]:
        raise CheckpointError(f"{checkpoint.name}: it lacks the tensor {min(info['missing_keys'])}; download it again")
    model.requires_grad_(False).eval()
    use_fast_codec(model.audio_encoder)
    decoder: torch.nn.Module = model.decoder
    decoder.to(dtype)
    if memory.quantization == "int8":
        quantise(decoder.get_submodule("model.decoder.layers"))
    offloads = memory.offloads(device, weight_bytes([model]))
    for name, part in model.named_children():
        if not (offloads and name == _OFFLOADED):
            part.to(device)
    if offloads:
        offload([model.get_submodule(_OFFLOADED)], device)
    return model, tokenizer, melody


def _model_type(folder: Path) -> str:
    """The checkpoint's kind by its configuration; empty if that cannot be read."""
    try:
        return str(json.loads((folder / "config.json").read_text()).get("model_type"))
    except (OSError, ValueError, AttributeError):
        return ""


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
