"""Converts a checkpoint of audiocraft, MusicGen's original code, to a folder that `MUSICGEN_MODEL` can name."""

from __future__ import annotations

import pickle  # nosec B403
import re
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor
from transformers import (
    AutoTokenizer,
    EncodecConfig,
    EncodecFeatureExtractor,
    EncodecModel,
    GenerationConfig,
    MusicgenConfig,
    MusicgenDecoderConfig,
    MusicgenForConditionalGeneration,
    T5EncoderModel,
)

from models.checkpoints import CheckpointError

LM_FILE, CODEC_FILE = "state_dict.bin", "compression_state_dict.bin"
_TEXT_PROJECTION = "condition_provider.conditioners.description.output_proj."
_LM_NAMES = [
    (r"^emb\.", "model.decoder.embed_tokens."),
    (r"^linears\.", "lm_heads."),
    (r"^out_norm\.", "model.decoder.layer_norm."),
    (r"^transformer\.", "model.decoder."),
    (r"\.cross_attention\.", ".encoder_attn."),
    (r"\.norm_cross\.", ".encoder_attn_layer_norm."),
    (r"\.norm1\.", ".self_attn_layer_norm."),
    (r"\.norm2\.", ".final_layer_norm."),
    (r"\.linear(\d)\.", r".fc\1."),
]
_CODEC_NAMES = [
    (r"^(encoder|decoder)\.model\.", r"\1.layers."),
    (r"\.conv\.conv\.", ".conv."),
    (r"\.convtr\.convtr\.", ".conv."),
    (r"^quantizer\.vq\.layers\.(\d+)\._codebook\.", r"quantizer.layers.\1.codebook."),
    (r"\.weight_g$", ".parametrizations.weight.original0"),
    (r"\.weight_v$", ".parametrizations.weight.original1"),
]


def convert(source: Path, target: Path, text_encoder: str | None = None) -> None:
    """Convert the checkpoint in the folder `source` to transformers' format, in the new folder `target`.

    Args:
        text_encoder: folder or hub id of the T5 encoder, which is not in audiocraft's files. By default the one that
            the checkpoint names.

    Raises:
        CheckpointError: the checkpoint cannot be converted.
    """
    if target.exists():
        raise CheckpointError(f"{target}: it exists already; name a new folder")
    lm, codec = _read(source / LM_FILE), _read(source / CODEC_FILE)
    settings = _settings(lm, source / LM_FILE)
    try:
        name = text_encoder or str(settings["conditioners"]["description"]["t5"]["name"])
        decoder = _decoder_config(lm["best_state"], settings)
    except (KeyError, TypeError, IndexError) as error:
        raise CheckpointError(
            f"{source / LM_FILE}: not a MusicGen that is driven by text: it has no {error}"
        ) from error
    try:
        # Run by hand by the operator; audiocraft's checkpoints name no revision.
        encoder = T5EncoderModel.from_pretrained(name)  # nosec B615
        tokenizer = AutoTokenizer.from_pretrained(name)  # nosec B615
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{name}: the text encoder cannot be loaded: {reason}; name a folder of it") from error
    audio = _codec(codec, source / CODEC_FILE)
    model = MusicgenForConditionalGeneration(
        MusicgenConfig(text_encoder=encoder.config, audio_encoder=audio.config, decoder=decoder),
        text_encoder=encoder,
        audio_encoder=audio,
    )
    if not hasattr(model, "enc_to_dec_proj"):
        raise CheckpointError(f"{name}: transformers has no projection for one as wide as the decoder")
    state = dict(lm["best_state"])
    projection = {part: state.pop(_TEXT_PROJECTION + part) for part in ("weight", "bias")}
    _load(model.enc_to_dec_proj, projection, source / LM_FILE)
    _load(model.decoder, _split(_renamed(state, _LM_NAMES)), source / LM_FILE)
    token = decoder.vocab_size
    model.generation_config = GenerationConfig(
        do_sample=True,
        guidance_scale=3.0,
        max_length=1500,
        bos_token_id=token,
        pad_token_id=token,
        decoder_start_token_id=token,
    )
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    EncodecFeatureExtractor(
        feature_size=decoder.audio_channels, sampling_rate=audio.config.sampling_rate, padding_side="left"
    ).save_pretrained(target)


def _read(file: Path) -> dict[str, Any]:
    """Load tensors and plain values only. A pickle that would run code is refused."""
    try:
        package = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{file}: there is no such file") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(f"{file}: not a checkpoint of audiocraft's: {str(error).splitlines()[0]}") from error
    if not isinstance(package, dict) or not ("best_state" in package or "pretrained" in package):
        raise CheckpointError(f"{file}: not a checkpoint that audiocraft exported: it has no best_state")
    return package


def _settings(package: dict[str, Any], file: Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(package["xp.cfg"])
    except (KeyError, AttributeError, yaml.YAMLError) as error:
        raise CheckpointError(f"{file}: its xp.cfg cannot be read") from error
    if not isinstance(settings, dict):
        raise CheckpointError(f"{file}: its xp.cfg cannot be read")
    return settings


def _decoder_config(state: dict[str, Tensor], settings: dict[str, Any]) -> MusicgenDecoderConfig:
    codebooks = len([name for name in state if re.fullmatch(r"emb\.\d+\.weight", name)])
    codes = state["emb.0.weight"].shape[0] - 1
    stereo = bool(settings.get("interleave_stereo_codebooks", {}).get("use"))
    return MusicgenDecoderConfig(
        vocab_size=codes,
        pad_token_id=codes,
        bos_token_id=codes,
        num_codebooks=codebooks,
        audio_channels=2 if stereo else 1,
        hidden_size=state["emb.0.weight"].shape[1],
        num_hidden_layers=1 + max(int(name.split(".")[2]) for name in state if name.startswith("transformer.layers.")),
        num_attention_heads=settings["transformer_lm"]["num_heads"],
        ffn_dim=state["transformer.layers.0.linear1.weight"].shape[0],
        activation_function=settings["transformer_lm"]["activation"],
    )


def _codec(package: dict[str, Any], file: Path) -> EncodecModel:
    if "pretrained" in package:
        name = str(package["pretrained"])
        try:
            return EncodecModel.from_pretrained(name)  # nosec B615
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise CheckpointError(f"{name}: the codec that {file} names cannot be loaded: {reason}") from error
    settings = _settings(package, file)
    try:
        model = EncodecModel(_codec_config(settings))
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{file}: not an EnCodec: no {error}") from error
    _load(model, _renamed(package["best_state"], _CODEC_NAMES), file)
    return model


def _codec_config(settings: dict[str, Any]) -> EncodecConfig:
    net, codes = settings["seanet"], settings["rvq"]
    rate = settings["encodec"]["sample_rate"]
    hop = 1
    for ratio in net["ratios"]:
        hop *= ratio
    bits = (codes["bins"] - 1).bit_length()
    return EncodecConfig(
        sampling_rate=rate,
        audio_channels=settings["encodec"]["channels"],
        normalize=settings["encodec"]["renormalize"],
        target_bandwidths=[-(-rate // hop) * bits * codes["n_q"] / 1000],
        codebook_size=codes["bins"],
        hidden_size=net["dimension"],
        num_filters=net["n_filters"],
        num_residual_layers=net["n_residual_layers"],
        upsampling_ratios=net["ratios"],
        norm_type=net["norm"],
        kernel_size=net["kernel_size"],
        last_kernel_size=net["last_kernel_size"],
        residual_kernel_size=net["residual_kernel_size"],
        dilation_growth_rate=net["dilation_base"],
        use_causal_conv=net["causal"],
        pad_mode=net["pad_mode"],
        compress=net["compress"],
        num_lstm_layers=net["lstm"],
        trim_right_ratio=net["decoder"]["trim_right_ratio"],
        use_conv_shortcut=not net["true_skip"],
    )


def _renamed(state: dict[str, Tensor], names: list[tuple[str, str]]) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in state.items():
        for pattern, replacement in names:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def _split(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Split audiocraft's fused matrices of query, key and value."""
    split: dict[str, Tensor] = {}
    for name, tensor in state.items():
        module, found, kind = name.partition("in_proj_")
        if found:
            split |= {f"{module}{part}_proj.{kind}": each for part, each in zip("qkv", tensor.chunk(3), strict=True)}
        else:
            split[name] = tensor
    return split


def _load(module: torch.nn.Module, state: dict[str, Tensor], file: Path) -> None:
    try:
        module.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{file}: it is not of the architecture that MusicGen has here: {reason}") from error
