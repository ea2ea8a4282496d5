"""Loads a MusicGen checkpoint."""

from __future__ import annotations

import torch
from transformers import AutoTokenizer, MusicgenForConditionalGeneration, PreTrainedTokenizerBase

from models.checkpoints import Checkpoint, CheckpointError


def load(
    checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype
) -> tuple[MusicgenForConditionalGeneration, PreTrainedTokenizerBase]:
    """Load the model, frozen, and its tokenizer.

    Only the decoder runs in `dtype`. T5 overflows in half precision, and EnCodec takes little time beside the decoder;
    MusicGen's authors keep both in float32 too.

    Raises:
        CheckpointError: the folder holds no MusicGen that transformers can load, or another kind, such as melody.
    """
    try:
        # Loaded from a folder, never from the hub, so there is no revision to pin.
        model = MusicgenForConditionalGeneration.from_pretrained(checkpoint.folder, dtype=torch.float32)  # nosec B615
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder)  # nosec B615
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{checkpoint.name}: not a MusicGen checkpoint: {_reason(error)}") from error
    if model.config.model_type != "musicgen":
        raise CheckpointError(f"{checkpoint.name}: not a MusicGen checkpoint but a {model.config.model_type} one")
    module: torch.nn.Module = model.requires_grad_(False).eval()
    module.to(device)
    module.get_submodule("decoder").to(dtype)
    return model, tokenizer


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
