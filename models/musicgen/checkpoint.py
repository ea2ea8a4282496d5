"""Loads a MusicGen checkpoint."""

from __future__ import annotations

import torch
from transformers import AutoTokenizer, MusicgenForConditionalGeneration, PreTrainedTokenizerBase

from models.checkpoints import Checkpoint, CheckpointError
from models.int8_linear import quantise
from models.memory import WHOLE, MemoryMode, weight_bytes
from models.offloading import offload
from models.weight_files import stored_tensors

# The codec is too small to be worth it.
_OFFLOADED = "text_encoder"


def load(
    checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, memory: MemoryMode = WHOLE
) -> tuple[MusicgenForConditionalGeneration, PreTrainedTokenizerBase]:
    """Load the model, frozen, and its tokenizer.

    Only the decoder runs in `dtype`. T5 overflows in half precision, and EnCodec takes little time beside the decoder;
    MusicGen's authors keep both in float32 too.

    Raises:
        CheckpointError: the folder holds no MusicGen that transformers can load, or another kind, such as melody; or a
            file is truncated, or a tensor missing, for which the library would make up random numbers.
    """
    try:
        if any(checkpoint.folder.glob("*.safetensors*")):
            stored_tensors(checkpoint.folder)  # names a file that is truncated or missing
        # Loaded from a folder, never from the hub, so there is no revision to pin.
        model, info = MusicgenForConditionalGeneration.from_pretrained(  # nosec B615
            checkpoint.folder, dtype=torch.float32, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder)  # nosec B615
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint.name}: {error}") from error
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{checkpoint.name}: not a MusicGen checkpoint: {_reason(error)}") from error
    if model.config.model_type != "musicgen":
        raise CheckpointError(f"{checkpoint.name}: not a MusicGen checkpoint but a {model.config.model_type} one")
    if info["missing_keys"]:
        raise CheckpointError(f"{checkpoint.name}: it lacks the tensor {min(info['missing_keys'])}; download it again")
    model.requires_grad_(False).eval()
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
    return model, tokenizer


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
