"""A tiny MusicGen checkpoint: T5, EnCodec and the delayed-codebook decoder, random weights, 6 MB.

The scales of the random weights are chosen so that tokens change the audio and prompts change the tokens. With
transformers' initialisation EnCodec's codebooks are zero, and the logits so flat that prompts have no effect.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    EncodecConfig,
    EncodecFeatureExtractor,
    GenerationConfig,
    MusicgenConfig,
    MusicgenDecoderConfig,
    MusicgenForConditionalGeneration,
    PreTrainedTokenizerFast,
    T5Config,
)

SEED = 20_230_608
_SAMPLE_RATE = 32_000
_CODES = 512
_CODEBOOKS = 4
_HIDDEN = 128
# Standard deviations of the logits, and of the first codebook, which is about that of EnCodec's latents.
_LOGITS = 2.0
_CODE = 1.0
# Keeps the signal's level from layer to layer through the ELUs.
_GAIN = 1.3
_SPECIAL = ["<pad>", "</s>", "<unk>"]


def build(folder: Path) -> None:
    """Write the checkpoint into `folder`: 32 kHz mono, 4 codebooks at 50 frames a second, guidance 3."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        words = tokenizer()
        model = MusicgenForConditionalGeneration(config(len(words)))
        spread(model)
    model.generation_config = GenerationConfig(
        do_sample=True,
        guidance_scale=3.0,
        max_length=1500,
        bos_token_id=_CODES,
        pad_token_id=_CODES,
        decoder_start_token_id=_CODES,
    )
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    EncodecFeatureExtractor(feature_size=1, sampling_rate=_SAMPLE_RATE, padding_side="left").save_pretrained(folder)


def config(vocabulary: int) -> MusicgenConfig:
    return MusicgenConfig(
        text_encoder=T5Config(vocab_size=vocabulary, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4),
        audio_encoder=EncodecConfig(
            sampling_rate=_SAMPLE_RATE,
            target_bandwidths=[50 * 9 * _CODEBOOKS / 1000],  # 9 bits for one of 512 codes
            codebook_size=_CODES,
            hidden_size=32,
            num_filters=4,
            upsampling_ratios=[8, 5, 4, 4],
            use_causal_conv=False,
            use_conv_shortcut=False,
        ),
        decoder=MusicgenDecoderConfig(
            vocab_size=_CODES,
            pad_token_id=_CODES,
            bos_token_id=_CODES,
            num_codebooks=_CODEBOOKS,
            hidden_size=_HIDDEN,
            num_hidden_layers=3,
            num_attention_heads=4,
            ffn_dim=2 * _HIDDEN,
        ),
    )


def spread(model: MusicgenForConditionalGeneration) -> None:
    """Random weights at the scales of a trained model's."""
    codec: Any = model.audio_encoder
    with torch.no_grad():
        for name, weight in model.decoder.named_parameters():
            if weight.ndim == 2:
                weight.normal_(std=0.5 if "embed_tokens" in name else _LOGITS * weight.shape[1] ** -0.5)
        model.enc_to_dec_proj.weight.normal_(std=model.enc_to_dec_proj.in_features**-0.5)
        for conv in codec.modules():
            if isinstance(conv, torch.nn.Conv1d | torch.nn.ConvTranspose1d):
                # Each output of a transposed convolution depends on one tap in `stride`.
                seen = conv.in_channels * conv.kernel_size[0] / (conv.stride[0] if conv.transposed else 1)
                conv.weight = torch.randn_like(conv.weight) * _GAIN * seen**-0.5
                torch.nn.init.zeros_(conv.get_parameter("bias"))
        for level, layer in enumerate(codec.quantizer.layers):
            layer.codebook.embed.normal_(std=_CODE * 0.6**level)


def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer without merges, which can read any text, with T5's `</s>` at the end."""
    alphabet = _SPECIAL + sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(alphabet)}, merges=[]))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")  # nosec B106
