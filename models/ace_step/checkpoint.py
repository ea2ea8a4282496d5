"""Loads an ACE-Step checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AceStepPipeline, AutoencoderOobleck, FlowMatchEulerDiscreteScheduler
from diffusers.models.transformers.ace_step_transformer import AceStepTransformer1DModel
from diffusers.pipelines.ace_step import (
    AceStepAudioTokenDetokenizer,
    AceStepAudioTokenizer,
    AceStepConditionEncoder,
)
from diffusers.utils import logging
from transformers import AutoConfig, AutoModel, AutoTokenizer

from models.ace_step.layer import fuse_norms
from models.ace_step.layout import Parts, locate
from models.ace_step.original import check_silence
from models.ace_step.sampling import is_turbo
from models.ace_step.snake import use_fast_snake
from models.ace_step.timbre import keep_silent_timbre
from models.channels_last import use_channels_last
from models.checkpoints import Checkpoint
from models.convolutions import guard_convolutions
from models.errors import CheckpointError
from models.int8_linear import quantise
from models.memory import WHOLE, MemoryMode, weight_bytes
from models.offloading import offload
from models.weight_files import check_tensors, stored_tensors
from models.weight_norms import fold_weight_norms


def load(
    checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, memory: MemoryMode = WHOLE
) -> tuple[AceStepPipeline, Parts]:
    """Load the pipeline, frozen, with faster modules that compute the same, and tell where its parts are.

    Raises:
        CheckpointError: the folder holds no ACE-Step model, or one that is damaged or incomplete.
    """
    logging.disable_progress_bar()
    try:
        parts = locate(checkpoint)
        pipeline = _load(parts, dtype)
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint.name}: {error}") from error
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{checkpoint.name}: not an ACE-Step checkpoint: {reason}") from error
    transformer, tokens = pipeline.transformer, (pipeline.audio_tokenizer, pipeline.audio_token_detokenizer)
    once = (pipeline.text_encoder, pipeline.condition_encoder, pipeline.vae)
    always = [part for part in (transformer, *tokens) if part is not None]
    for part in (*always, *once):
        part.requires_grad_(False).eval()
    if memory.quantization == "int8":
        quantise(transformer.layers)
    for part in always:
        part.to(device)
    offloads = memory.offloads(device, weight_bytes([*always, *once]))
    if not offloads:
        for part in once:
            part.to(device)
    fold_weight_norms(pipeline.vae)
    use_fast_snake(pipeline.vae)
    if device.type == "cpu":
        use_channels_last(pipeline.vae.decoder)
        guard_convolutions(pipeline.vae)
    pipeline.text_encoder.config.use_cache = False  # prompts are encoded in one pass
    fuse_norms(pipeline.transformer)
    fuse_norms(pipeline.condition_encoder)
    keep_silent_timbre(pipeline)
    if offloads:
        offload_parts(pipeline, device)
    return pipeline, parts


def offload_parts(pipeline: AceStepPipeline, device: torch.device) -> None:
    """Keep the text encoder, the condition encoder's parts and the codec in the CPU's memory until they run."""
    # Lyrics are encoded by the embeddings alone.
    embeddings = pipeline.text_encoder.get_input_embeddings()
    # Of the condition encoder, its own few tensors stay on the device, and its parts are called one by one.
    encoder, vae = pipeline.condition_encoder.to(device), pipeline.vae
    parts = [encoder.lyric_encoder, encoder.timbre_encoder, encoder.text_projector]
    offload([embeddings, pipeline.text_encoder, *parts, vae.encoder, vae.decoder], device)


def _load(parts: Parts, dtype: torch.dtype) -> AceStepPipeline:
    models: dict[str, Any] = {}
    for name, kind in (
        ("transformer", AceStepTransformer1DModel),
        ("condition_encoder", AceStepConditionEncoder),
        ("vae", AutoencoderOobleck),
        ("audio_tokenizer", AceStepAudioTokenizer),
        ("audio_token_detokenizer", AceStepAudioTokenDetokenizer),
    ):
        folder = getattr(parts, name)
        if folder is None:
            continue
        with torch.device("meta"):
            _check(folder, kind.from_config(kind.load_config(folder)))
        # As text, since libraries write the name into their files.
        models[name] = kind.from_pretrained(str(folder), dtype=dtype)
    with torch.device("meta"):
        # Loaded from a folder, never from the hub, so there is no revision to pin.
        text_encoder = AutoModel.from_config(AutoConfig.from_pretrained(parts.text_encoder))  # nosec B615
    _check(parts.text_encoder, text_encoder)
    models["text_encoder"] = AutoModel.from_pretrained(str(parts.text_encoder), dtype=dtype)  # nosec B615
    check_silence(models["condition_encoder"].silence_latent)
    _check_widths(models)
    pipeline = AceStepPipeline(
        **models,
        tokenizer=AutoTokenizer.from_pretrained(parts.tokenizer),  # nosec B615
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
    )
    pipeline.is_turbo = is_turbo(json.loads((parts.transformer / "config.json").read_text()), parts.variant)
    return pipeline


def _check(folder: Path, model: torch.nn.Module) -> None:
    """Check that the weights of `model` are in `folder`: the libraries would fill gaps with random numbers."""
    # Language models save the encoder below `model.`.
    stored = {name.removeprefix("model."): tensor for name, tensor in stored_tensors(folder).items()}
    if "silence_latent" in model.state_dict() and "silence_latent" not in stored:
        raise CheckpointError(
            "it has no silence_latent, without which its music is wrong; convert or download it again"
        )
    check_tensors(folder, stored, {name: tensor.shape for name, tensor in model.state_dict().items()})


def _check_widths(models: dict[str, Any]) -> None:
    """Check that the parts are of one model."""
    text, condition = models["text_encoder"].config.hidden_size, models["condition_encoder"].config
    latent = models["transformer"].config.audio_acoustic_hidden_dim
    if text != condition.text_hidden_dim:
        raise CheckpointError(
            f"its text encoder is {text} wide, and its condition encoder reads {condition.text_hidden_dim}"
        )
    if models["vae"].config.decoder_input_channels != latent:
        raise CheckpointError(f"its vae is not for latents of {latent} channels")
