"""The second edition's transformer in small: its data, a few steps of training, and what is reported of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AceStepPipeline

from recipes.first_edition.ace_step.architecture import CLOCK_PERIODS, CLOCK_TEMPOS, clock
from recipes.first_edition.ace_step.architecture import SHAPE as FIRST
from recipes.first_edition.ace_step.model import Starter, channel_weights
from recipes.first_edition.clips import Library, load_clip
from recipes.first_edition.state import Checkpoints
from recipes.music.corpus import SECONDS
from recipes.second_edition.codec.analysis import LEVELS, load_analysis
from recipes.second_edition.codec.architecture import HOP, LATENT, NOISE
from recipes.second_edition.model.clips import (
    NATS_PER_DB,
    SHAPE,
    SONGS,
    Equaliser,
    load_corpus,
    with_noise,
)
from recipes.second_edition.model.inheritance import inherit
from recipes.second_edition.model.predictability import Probe
from recipes.second_edition.model.training import STATE, build_tokenizer, draw_batch, train_model
from tests.unit.recipes.second_edition import SCORE, corpus_folder

pytestmark = pytest.mark.long

SHIPPED = Path(__file__).parents[3] / "models" / "starter" / "ace_step"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with four shards of one pulsing noise, all "scores", and songs."""
    return corpus_folder(tmp_path_factory.mktemp("runs"))


def test_a_shape_holds_the_whole_clock() -> None:
    hands = 2 * (2 * len(CLOCK_TEMPOS) + len(CLOCK_PERIODS))
    assert SHAPE.channels * SHAPE.patch == hands
    assert (SHAPE.channels, SHAPE.hop, SHAPE.noise) == (LATENT, HOP, NOISE)
    assert clock(50, SHAPE).shape == (1, 50, LATENT)


def test_noise_weighs_little_and_nothing_in_a_step_on_rhythm() -> None:
    weights = channel_weights(torch.zeros(1), False, SHAPE)
    assert weights[-1] == weights[-NOISE] < weights[-NOISE - 1] < weights[0]
    assert channel_weights(torch.zeros(1), True, SHAPE)[SHAPE.levels :].sum() == 0


def test_clips_have_latents_of_their_audio_and_prompts_of_their_record(runs: Path) -> None:
    trained, held = load_corpus(runs)
    assert (len(trained), len(held)) == (4, 4)
    assert trained[0].frames.shape == (SHAPE.frames(SECONDS), LATENT - NOISE)
    prompts = [trained[0].prompt(10.0, np.random.default_rng(n)) for n in range(20)]
    assert len(set(prompts)) > 5
    assert any("90" in prompt for prompt in prompts)
    assert any("D minor" in prompt for prompt in prompts)


def test_cuts_of_the_corpus_begin_on_a_bar(runs: Path) -> None:
    clip = load_corpus(runs)[0][0]
    length, bar = SHAPE.frames(6.0), SHAPE.frames(SCORE["bar"] * 60 / SCORE["bpm"])
    begins = [clip.frames[start : start + length].float() for start in range(0, len(clip.frames) - length + 1, bar)]
    drawn = [clip.cut(length, np.random.default_rng(seed)) for seed in range(30)]
    found = {next(n for n, begin in enumerate(begins) if torch.equal(begin, cut)) for cut in drawn}
    assert found == set(range(len(begins)))
    assert len(clip.cut(len(clip.frames), np.random.default_rng(0))) == len(clip.frames)


def test_noise_is_drawn_anew() -> None:
    latents = torch.zeros(2, 100, LATENT - NOISE)
    first, second = with_noise(latents), with_noise(latents)
    assert torch.equal(first[..., :-NOISE], latents)
    assert not torch.equal(first, second)
    assert first[..., -NOISE:].std() == pytest.approx(1, abs=0.15)


def test_a_change_of_the_levels_is_that_of_the_audio(runs: Path) -> None:
    analysis = load_analysis(runs / "latents.safetensors")
    audio = 0.1 * torch.randn(1, 100 * HOP)
    louder = analysis.latents(2 * audio) - analysis.latents(audio)
    told = analysis.whitening.change(torch.full((LEVELS.bands,), 20 * np.log10(2) * NATS_PER_DB))
    assert torch.allclose(louder[0].mean(1), told, atol=0.02)


def test_equalisers_differ_and_change_each_frame_alike(runs: Path) -> None:
    equaliser = Equaliser(load_analysis(runs / "latents.safetensors"))
    curves = torch.stack([equaliser.draw(np.random.default_rng(seed)) for seed in range(50)])
    assert curves.shape == (50, LATENT - NOISE)
    assert curves[:, : SHAPE.levels].std(0).min() > 0.1


def test_a_batch_has_songs_first_and_one_length(runs: Path) -> None:
    library, (trained, _) = Library(runs / SONGS, load_clip), load_corpus(runs)
    equaliser = Equaliser(load_analysis(runs / "latents.safetensors"))
    for seed in range(6):
        texts, latents, songs = draw_batch(library, trained, equaliser, np.random.default_rng(seed))
        assert len(texts) == len(latents) >= songs
        assert latents.shape[2] == LATENT
        assert all("Tempo" in text or "bpm" in text for text in texts)


def test_words_the_clock_and_the_layers_are_the_first_editions(runs: Path) -> None:
    shipped = AceStepPipeline.from_pretrained(SHIPPED, torch_dtype=torch.float32)
    starter = Starter(build_tokenizer(runs), shape=SHAPE)
    inherit(starter, SHIPPED)
    words, known = starter.text_encoder.embed_tokens.weight, shipped.text_encoder.embed_tokens.weight
    for word in ("house", "124"):
        mine, theirs = (tokenizer.convert_tokens_to_ids(word) for tokenizer in (starter.tokenizer, shipped.tokenizer))
        assert torch.equal(words[mine], known[theirs])
    name = "layers.3.cross_attn.to_q.weight"
    assert torch.equal(starter.transformer.state_dict()[name], shipped.transformer.state_dict()[name])
    assert torch.equal(starter.condition_encoder.silence_latent, clock(15_000, SHAPE))
    # The clock moves the first token of both alike.
    moved = []
    for transformer, shape in ((starter.transformer, SHAPE), (shipped.transformer, FIRST)):
        context = torch.zeros(1, 3 * shape.channels, shape.patch)
        nothing = transformer.proj_in_conv(context)
        context[:, : shape.channels] = clock(shape.patch, shape).mT
        moved.append(transformer.proj_in_conv(context) - nothing)
    assert torch.allclose(moved[0], moved[1], atol=1e-4)


def test_training_resumes_and_reports(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_model(runs, 2, 1e-3, None)
    train_model(runs, 3, 1e-3, None)
    saved = Checkpoints(runs / STATE).load()
    assert saved is not None
    assert saved["step"] == 3
    report = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert set(report["0.8"]) == {"songs", "corpus"}
    assert len(report["rhythm"]["own prompt, another's"]) == 2


def test_what_is_predicted_exactly_is_explained_wholly(runs: Path) -> None:
    starter = Starter(build_tokenizer(runs), shape=SHAPE)
    probe = Probe(runs, Library(runs / SONGS, load_clip), load_corpus(runs)[1], None)
    starter.squared_error = lambda latents, *_: torch.zeros_like(latents)  # type: ignore[method-assign]
    assert all(figures == [1.0, 1.0] for figures in probe(starter)["0.5"].values())
