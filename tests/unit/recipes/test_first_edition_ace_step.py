"""The starter's recipe in small, and the checkpoint that ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.base import Text
from recipes.first_edition.ace_step import codec as codec_stage
from recipes.first_edition.ace_step.architecture import (
    CLOCK_TEMPOS,
    HOP,
    LATENT,
    PATCH,
    build_codec,
    clock,
    encode_mean,
)
from recipes.first_edition.ace_step.levels import LEVELS, unit_levels
from recipes.first_edition.ace_step.prompts import build_tokenizer, format_prompt, template_parts
from recipes.first_edition.ace_step.transform import lapped_cosine, set_weight, start_as_transform, weight_of
from recipes.first_edition.checkpoint import load_starter
from recipes.first_edition.clips import LOOP_SECONDS, Clip, draw
from recipes.first_edition.data import SAMPLE_RATE, TRAINING, Pool, song_number
from recipes.first_edition.measures import reconstruction_table
from recipes.first_edition.prompts import loose_text
from recipes.synthesiser.captions import NO_DRUM_WORDS

pytestmark = pytest.mark.long

CHECKPOINT = Path(__file__).parents[3] / "models" / "starter" / "ace_step"


def test_the_lapped_transform_is_orthonormal() -> None:
    basis = lapped_cosine(10)
    assert torch.allclose(basis @ basis.T, torch.eye(10), atol=1e-5)
    assert torch.allclose(basis[:, :10] @ basis[:, 10:].T, torch.zeros(10, 10), atol=1e-5)


def test_the_codec_is_a_codec_before_training() -> None:
    torch.manual_seed(0)
    codec = build_codec()
    audio = Pool(TRAINING, size=16, seconds=2.0).audio
    start_as_transform(codec, torch.from_numpy(audio)[:, None])
    decoded = codec_stage.reconstruct(codec, audio)
    assert decoded.shape == audio.shape
    assert reconstruction_table(audio, decoded)["si_sdr"] > 5


def test_a_row_of_zeros_stays_a_number() -> None:
    torch.manual_seed(0)
    convolution = build_codec().encoder.conv2
    set_weight(convolution, torch.zeros_like(weight_of(convolution)))
    assert torch.isfinite(convolution(torch.ones(1, convolution.in_channels, 8))).all()


def test_loudness_is_read_from_the_latents() -> None:
    torch.manual_seed(0)
    codec = build_codec()
    audio = torch.from_numpy(Pool(TRAINING, size=32, seconds=2.0).audio)
    start_as_transform(codec, audio[:, None])
    with torch.no_grad():
        levels = encode_mean(codec, audio[:, None])[:, :LEVELS]
    assert (levels - unit_levels(audio)).square().mean() < 0.5


def test_the_pool_goes_on_where_it_stopped() -> None:
    pool = Pool(TRAINING, size=4, seconds=0.5)
    for _ in range(3):
        pool.renew()
    assert np.array_equal(pool.audio, Pool(TRAINING, size=4, seconds=0.5, renewals=3).audio)


def test_the_clocks_hands_turn_once_a_bar() -> None:
    hands = clock(1200 * PATCH).reshape(1200, PATCH * LATENT)
    token = PATCH * HOP / SAMPLE_RATE
    index = list(CLOCK_TEMPOS).index(120)
    bar = round(240 / 120 / token)
    pair = hands[:, 2 * index : 2 * index + 2]
    assert torch.allclose(pair[0], pair[bar], atol=1e-4)
    assert not torch.allclose(pair[0], pair[bar // 2], atol=0.5)


@pytest.mark.parametrize("text", ["", "Dark TRAP", "日本語 🎹 ß", "\x00\ud7ff", "zqxj " * 200, "<|endoftext|>"])
def test_any_text_is_a_prompt(text: str) -> None:
    tokenizer = build_tokenizer()
    prompt, lyrics = format_prompt(text, 10, bpm=141, keyscale="C# minor")
    for words in (prompt, lyrics):
        tokens = tokenizer(words, truncation=True, max_length=256).input_ids
        assert 0 < len(tokens) <= 256
        assert max(tokens) < len(tokenizer)


def test_the_format_costs_few_tokens() -> None:
    tokenizer = build_tokenizer()
    fixed = len(template_parts())
    prompt = format_prompt("trap", 10, bpm=141, keyscale="C# minor", timesignature="4")[0]
    assert len(tokenizer(prompt).input_ids) < fixed + 8


def test_drums_are_missing_only_where_the_text_says_so() -> None:
    stock = [Clip(song_number(TRAINING, n), LOOP_SECONDS, torch.zeros(1)) for n in range(240)]
    rng = np.random.default_rng(0)
    drawn = draw(stock, 400, 0.5, rng)
    lacking = [clip.song for clip in drawn if not clip.song.drums and clip.song.genre != "ambient"]
    assert 0.45 < len(lacking) / len(drawn) < 0.7
    for song in lacking:
        prompt = loose_text(song, rng).prompt
        assert any(words in prompt for words in NO_DRUM_WORDS), prompt
    assert draw(stock[:1], 3, 1.0, rng) == stock[:1] * 3  # it has drums, and there is no other


def test_the_shipped_checkpoint_makes_music() -> None:
    size = sum(path.stat().st_size for path in CHECKPOINT.rglob("*") if path.is_file())
    assert size <= 25e6
    starter = load_starter("ace_step", CHECKPOINT, "cpu")
    text = Text("deep house, 日本語", bpm=124, key="A minor", time_signature="4")
    audio, again = starter.generate(text, 4.0, 1), starter.generate(text, 4.0, 1)
    assert audio.shape[0] == pytest.approx(4.0 * starter.model.sample_rate, abs=starter.model.sample_rate * 0.1)
    assert np.isfinite(audio).all()
    assert np.abs(audio).max() > 0.05
    assert np.array_equal(audio, again)


def test_training_can_go_on_from_the_shipped_checkpoint(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from recipes.first_edition.ace_step.tasks.pack import pack, unpack

    unpack(CHECKPOINT, tmp_path / "runs")
    pack(tmp_path / "runs", tmp_path / "again")
    for file in CHECKPOINT.rglob("*.safetensors"):
        shipped, again = load_file(file), load_file(tmp_path / "again" / file.relative_to(CHECKPOINT))
        assert all(torch.equal(again[name], value) for name, value in shipped.items()), file.name
    with pytest.raises(FileExistsError):
        unpack(CHECKPOINT, tmp_path / "runs")
