"""Finds the parts of an ACE-Step checkpoint in any of the layouts in which it is published."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from models import hub
from models.ace_step import original
from models.checkpoints import Checkpoint
from models.errors import CheckpointError

TEXT_ENCODER = "Qwen3-Embedding-0.6B"
# The repository whose codec and text encoder all variants share.
_SHARED = "ACE-Step/Ace-Step1.5"


@dataclass(frozen=True)
class Parts:
    """The folders of a pipeline's parts, each with a `config.json`.

    Attributes:
        audio_tokenizer: None in checkpoints without it, as is `audio_token_detokenizer`.
        variant: the name by which the authors tell their checkpoints apart, such as `acestep-v15-turbo-shift1`.
        sampling: a file with the checkpoint's own sampling options, which may be missing.
    """

    transformer: Path
    condition_encoder: Path
    vae: Path
    text_encoder: Path
    tokenizer: Path
    audio_tokenizer: Path | None
    audio_token_detokenizer: Path | None
    variant: str
    sampling: Path


def locate(checkpoint: Checkpoint) -> Parts:
    """Find the parts. A checkpoint in the original layout is converted into the cache.

    Raises:
        CheckpointError: a part is missing, or cannot be converted.
    """
    folder = checkpoint.folder
    sampling = folder / "sampling.json"
    if (folder / "transformer").is_dir():
        return Parts(
            transformer=folder / "transformer",
            condition_encoder=folder / "condition_encoder",
            vae=folder / "vae",
            text_encoder=folder / "text_encoder",
            tokenizer=folder / "tokenizer",
            audio_tokenizer=_optional(folder / "audio_tokenizer"),
            audio_token_detokenizer=_optional(folder / "audio_token_detokenizer"),
            variant=_name(checkpoint),
            sampling=sampling,
        )
    model = _original_model(folder)
    if checkpoint.from_hub:  # of the commit that is there; checkpoints in diffusers' layout do without
        repo = checkpoint.name.partition("@")[0]
        hub.download(f"{repo}@{folder.name}", files=[f"*{original.SILENCE_FILE}"])
    variant = _name(checkpoint) if model == folder else model.name
    vae, text_encoder = (_beside(model, name, checkpoint) for name in ("vae", TEXT_ENCODER))
    converted = original.converted(model, checkpoint.sha256, variant)
    return Parts(
        transformer=converted / "transformer",
        condition_encoder=converted / "condition_encoder",
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=text_encoder,
        audio_tokenizer=_optional(converted / "audio_tokenizer"),
        audio_token_detokenizer=_optional(converted / "audio_token_detokenizer"),
        variant=variant,
        sampling=sampling,
    )


def _optional(part: Path) -> Path | None:
    return part if part.is_dir() else None


def _name(checkpoint: Checkpoint) -> str:
    return checkpoint.name if checkpoint.from_hub else checkpoint.folder.name


def _original_model(folder: Path) -> Path:
    """The folder with the transformer in the original layout: `folder`, or the only such one in it."""
    if _is_original(folder):
        return folder
    found = sorted(child for child in folder.iterdir() if child.is_dir() and _is_original(child))
    if not found:
        raise CheckpointError(
            "not an ACE-Step checkpoint: it has neither a folder transformer/, as in diffusers' layout, nor a "
            "model.safetensors whose config.json is ACE-Step's"
        )
    if len(found) > 1:
        names = ", ".join(child.name for child in found)
        raise CheckpointError(f"it has several models ({names}); name the folder of one of them")
    return found[0]


def _is_original(folder: Path) -> bool:
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return False
    has_weights = any(folder.glob("*.safetensors")) or any(folder.glob("*.bin"))
    return isinstance(config, dict) and "audio_acoustic_hidden_dim" in config and has_weights


def _beside(model: Path, name: str, checkpoint: Checkpoint) -> Path:
    """The folder of a part that the variants share: in the model's folder, beside it, or from the hub."""
    for place in (model / name, model.parent / name):
        if place.is_dir():
            return place
    if checkpoint.from_hub:
        shared = hub.download(_SHARED, files=[f"{name}/*"]) / name
        if shared.is_dir():
            return shared
    raise CheckpointError(f"it has no folder {name} in it or beside it; copy that of {_SHARED} there")
