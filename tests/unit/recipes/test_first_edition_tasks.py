"""The recipe of the starter's tasks in small: stems, prompts, contexts, timbre and audio tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AceStepPipeline

from contract.tasks import TRACK_NAMES
from recipes.first_edition import measures
from recipes.first_edition.ace_step.architecture import LATENT, SHAPE, build_condition_encoder
from recipes.first_edition.ace_step.latents import frames
from recipes.first_edition.ace_step.levels import LEVELS
from recipes.first_edition.ace_step.model import Starter
from recipes.first_edition.ace_step.prompts import build_tokenizer, format_prompt
from recipes.first_edition.ace_step.tasks import training
from recipes.first_edition.ace_step.tasks.audio_tokens import (
    DETOKENIZER,
    HARMONY_GAIN,
    TOKENIZER,
    AudioTokens,
    OutlineReader,
    emphasise_harmony,
)
from recipes.first_edition.ace_step.tasks.examples import (
    LONG_SHARES,
    SHARES,
    Example,
    can_do,
    draw_batch,
    draw_window,
    example,
)
from recipes.first_edition.ace_step.tasks.harmony import PITCH_CLASSES, harmony
from recipes.first_edition.ace_step.tasks.measures import beat_offset, chroma_likeness, nearest, tempo_ratio
from recipes.first_edition.ace_step.tasks.model import TaskStarter
from recipes.first_edition.ace_step.tasks.pack import pack, unpack
from recipes.first_edition.ace_step.tasks.pieces import Piece, encode_shard, load_piece
from recipes.first_edition.ace_step.tasks.prompts import build_task_tokenizer, instruction, task_prompt
from recipes.first_edition.ace_step.tasks.timbre import reference_of, timbre_token
from recipes.first_edition.ace_step.tasks.timbre_training import LABELS, labels, train_timbre
from recipes.first_edition.clips import SONGS_PER_SHARD, Library
from recipes.first_edition.data import TRAINING, song_number
from recipes.first_edition.prompts import loose_text
from recipes.first_edition.state import Checkpoints
from recipes.first_edition.training import start_over
from recipes.synthesiser import Song, render
from recipes.synthesiser.render import TRACKS, render_parts
from recipes.synthesiser.song import SCALES
from recipes.synthesiser.stems import sibling, stems, with_instruments

pytestmark = pytest.mark.long


def coarse(audio: np.ndarray) -> torch.Tensor:
    """Stands for the codec: latents of the right length, which depend on the audio's level."""
    count = frames(len(audio) / 24_000)
    level = torch.from_numpy(np.abs(audio[: count * 160]).reshape(count, 160).mean(1))
    return level[:, None].expand(-1, LATENT).half() + torch.randn(count, LATENT).half()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with untrained audio tokens, an untrained starter and two shards of pieces."""
    folder = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    tokens = AudioTokens()
    tokens.tokenizer.save_pretrained(folder / TOKENIZER)
    tokens.detokenizer.save_pretrained(folder / DETOKENIZER)
    start_over(folder / "model.pt", Starter())
    (folder / "pieces").mkdir()
    for shard in (0, SONGS_PER_SHARD):
        rows = encode_shard(range(shard, shard + SONGS_PER_SHARD), coarse)
        torch.save(rows, folder / "pieces" / f"{shard:06d}.pt")
    return folder


@pytest.fixture(scope="module")
def piece() -> Piece:
    """A loop with stems."""
    rows = map(load_piece, encode_shard(range(16), coarse))
    return next(found for found in rows if found.stems and len(found.stems.others) > 1)


@pytest.mark.parametrize("number", range(8))
def test_stems_are_the_mix_in_parts(number: int) -> None:
    song = replace(song_number(TRAINING, number), drums=True)
    parts = stems(song)
    assert set(parts) <= set(TRACK_NAMES)
    assert sorted(track for of in parts.values() for track in of) == sorted(set(TRACKS) - _silent(song))
    mix, *alone = (part[0] for part in render_parts(song, 4.0, (TRACKS, *parts.values()), 24_000, 1))
    assert np.array_equal(mix, render(song, 4.0, 24_000, 1)[0])
    assert np.corrcoef(mix, np.sum(alone, 0))[0, 1] > 0.9


def _silent(song: Song) -> set[str]:
    return {name for name in ("bass", "chord", "melody") if not getattr(song, name)}


def test_a_sibling_has_the_same_instruments_and_another_tune() -> None:
    song = song_number(TRAINING, 3)
    other = sibling(song, np.random.default_rng(0))
    same = ("genre", "bass", "chord", "melody", "drums", "kit")
    assert all(getattr(song, name) == getattr(other, name) for name in same)
    assert song.seed != other.seed


def test_other_instruments_play_the_same_notes() -> None:
    song, other = song_number(TRAINING, 0), song_number(TRAINING, 3)
    changed = with_instruments(song, other)
    assert (changed.bass, changed.chord, changed.melody) == (other.bass, other.chord, other.melody)
    assert (
        replace(changed, bass=song.bass, chord=song.chord, melody=song.melody, drums=song.drums, kit=song.kit) == song
    )


def test_harmony_is_the_songs_scale() -> None:
    song = song_number(TRAINING, 1)
    loud = harmony(song, 8.0, SHAPE).mean(0)
    scale = {(song.root + degree) % 12 for degree in SCALES[song.mode]}
    assert harmony(song, 8.0, SHAPE).shape == (frames(8.0), 12)
    assert set(np.flatnonzero(loud > loud.min() + 1e-3)) <= scale


@pytest.mark.parametrize("length", [40, 128, 1000])
def test_the_timbre_token_is_the_encoders(length: int) -> None:
    torch.manual_seed(0)
    encoder = build_condition_encoder(2).timbre_encoder
    reference = torch.randn(2, length, LATENT)
    with torch.no_grad():
        whole, _ = encoder(reference, torch.arange(2))
        assert torch.allclose(timbre_token(encoder, reference), whole, atol=1e-5)


def test_a_reference_is_cut_as_the_pipeline_cuts_it() -> None:
    class Codec:
        dtype = torch.float32

        def encode(self, audio: torch.Tensor) -> object:
            posterior = type("Posterior", (), {"sample": lambda _: audio[:, :, ::160]})()
            return type("Encoded", (), {"latent_dist": posterior})()

    for seconds in (2.0, 12.0, 50.0):
        audio = torch.arange(frames(seconds) * 160, dtype=torch.float32)[None]
        pipeline = type("Pipeline", (), {"sample_rate": 24_000, "vae": Codec()})()
        wanted, _ = AceStepPipeline.prepare_reference_audio_latents(
            pipeline, audio, 1, torch.device("cpu"), torch.float32
        )
        assert torch.equal(reference_of(audio[0, ::160, None], SHAPE), wanted[0])


def test_the_new_tokens_come_after_the_old() -> None:
    old, new = build_tokenizer(), build_task_tokenizer()
    assert old.get_vocab().items() <= new.get_vocab().items()
    prompt = format_prompt("deep house, piano", 10, bpm=124)[0]
    assert old(prompt).input_ids == new(prompt).input_ids
    text = loose_text(song_number(TRAINING, 0), np.random.default_rng(0))
    for task in ("repaint", "cover", "lego", "extract", "complete"):
        repaint = task_prompt(text, 10, task, ("drums", "bass"))
        assert instruction(task, ("drums", "bass")) in repaint
        assert len(new(repaint).input_ids) < len(new(task_prompt(text, 10, "text")).input_ids) + 8


def test_text_to_music_starts_as_it_was(runs: Path) -> None:
    base, starter = Starter().eval(), TaskStarter().eval()
    weights = torch.load(runs / "model.pt", weights_only=True)["average"]
    base.load_state_dict(weights)
    starter.start_from(weights)
    texts, lyrics = format_prompt("trap, bells", 10, bpm=140)
    with torch.no_grad():
        wanted = base.conditions([texts], lyrics)
        assert torch.allclose(starter.conditions([texts], lyrics), wanted, atol=1e-5)
        reference = torch.randn(4500, LATENT)
        states = starter.task_conditions([texts, texts], lyrics, [None, reference])
    assert torch.allclose(states[0], wanted[0], atol=1e-5)
    changed = (states[1] - wanted[0]).abs().amax(1) > 1e-5
    assert changed.sum() == 1


def test_repaint_hides_the_window_and_shows_the_rest(piece: Piece) -> None:
    silence = torch.randn(1, frames(12.0), LATENT)
    clock = silence[0, : frames(10.0)]
    for task in ("repaint", "extend"):
        row = example(piece, task, 10.0, np.random.default_rng(0), SHAPE)
        assert row.source is not None
        source, window = row.context(silence, None).split(LATENT, 1)
        inside = row.window > 0
        assert 0 < inside.sum() < len(inside)
        assert torch.equal(source[inside], clock[inside])
        assert torch.equal(source[~inside], row.latents[~inside])
        assert torch.equal(window[:, 0], row.window)
        assert row.weights[inside].min() > row.weights[~inside].max()


def test_stems_are_sources_and_targets(piece: Piece) -> None:
    assert piece.stems is not None
    lego, extract = (example(piece, task, 10.0, np.random.default_rng(0), SHAPE) for task in ("lego", "extract"))
    assert torch.equal(lego.latents, extract.latents)
    assert piece.stems.name.upper() in lego.prompt
    assert lego.source is not None and extract.source is not None
    assert not torch.equal(lego.source, extract.source)
    complete = [example(piece, "complete", 10.0, np.random.default_rng(n), SHAPE) for n in range(12)]
    named = {
        tuple(name for name in TRACK_NAMES if name.upper() in row.prompt.split("# Caption")[0]) for row in complete
    }
    assert named == {(piece.stems.name,), tuple(name for name in TRACK_NAMES if name in piece.stems.others)}


def test_siblings_are_each_others_reference() -> None:
    rows = list(map(load_piece, encode_shard(range(4), coarse)))
    first, other = next(
        (a, b)
        for a in rows
        for b in rows
        if a is not b and a.sibling is not None and b.sibling is not None and torch.equal(a.sibling, b.frames)
    )
    assert other.sibling is not None
    assert torch.equal(other.sibling, first.frames)
    assert first.song.bass == other.song.bass
    referred = example(first, "text", 10.0, np.random.default_rng(0), SHAPE, referred=True)
    assert referred.reference is not None
    assert referred.reference.shape == (frames(30.0), LATENT)
    assert not can_do(first, "lego")
    assert can_do(first, "cover", referred=True)


def test_text_to_music_has_the_largest_share() -> None:
    for shares in (SHARES, LONG_SHARES):
        assert sum(shares.values()) == pytest.approx(1)
        assert shares["text"] == max(shares.values())


def test_a_step_on_rhythm_leaves_covers_as_they_are() -> None:
    """They learn notes, which the times near pure noise of such a step do not show."""
    torch.manual_seed(0)
    length = frames(1.0)
    rows = [Example(task, "", torch.zeros(length, LATENT), None, torch.ones(length)) for task in ("cover", "text")] * 32
    times = training.draw_task_times(rows, rhythm=True)
    assert (times[1::2] >= 0.9).all()
    assert (times[::2] < 0.9).float().mean() > 0.5

    starter = TaskStarter()
    outline: Any = lambda latents, silence: latents  # noqa: E731
    learned = {}
    for row in rows[:2]:
        starter.zero_grad()
        prompts = replace(row, prompt=format_prompt("techno", 1)[0])
        training.batch_loss(starter, outline, [prompts], times[:1], format_prompt("", 1)[1], True, 0.0).backward()
        gradient = starter.transformer.proj_out_conv.weight.grad
        assert gradient is not None
        learned[row.task] = gradient.abs().sum((0, 2)) > 0
    assert learned["cover"].all()
    assert learned["text"][:LEVELS].all() and not learned["text"][LEVELS:].any()


def test_an_extension_reaches_an_end() -> None:
    for number in range(20):
        window = draw_window("extend", 100, np.random.default_rng(number))
        assert window[0] != window[-1]
        assert window.diff().abs().sum() == 1


def test_audio_tokens_are_those_of_the_pipeline(runs: Path, piece: Piece) -> None:
    outline, tokens = OutlineReader(runs), AudioTokens()
    tokens.tokenizer, tokens.detokenizer = outline.tokenizer, outline.detokenizer
    latents, silence = torch.randn(90, LATENT), torch.randn(1, frames(12.0), LATENT)
    with torch.no_grad():
        trained = tokens(latents[None])[0]
    assert torch.allclose(outline(latents, silence), trained, atol=1e-4)
    assert outline(latents[:71], silence).shape == (71, LATENT)
    cover = example(piece, "cover", 6.0, np.random.default_rng(0), SHAPE)
    source, window = cover.context(silence, outline).split(LATENT, 1)
    assert torch.equal(source, outline(cover.latents, silence))
    assert window.min() == 1
    with pytest.raises(ValueError, match="audio tokens"):
        cover.context(silence, None)


def test_the_finished_tokens_emphasise_the_harmony_alone() -> None:
    torch.manual_seed(0)
    tokens, latents = AudioTokens(), torch.randn(1, 60, LATENT)
    with torch.no_grad():
        plain = tokens(latents)
        emphasise_harmony(tokens.detokenizer, SHAPE)
        levels, pitches, rest = tokens(latents).split([LEVELS, PITCH_CLASSES, LATENT - LEVELS - PITCH_CLASSES], -1)
    assert torch.allclose(levels, plain[..., :LEVELS]) and torch.allclose(rest, plain[..., LEVELS + PITCH_CLASSES :])
    assert torch.allclose(pitches, HARMONY_GAIN * plain[..., LEVELS : LEVELS + PITCH_CLASSES], atol=1e-5)


def test_covers_wait_for_the_audio_tokens(runs: Path, tmp_path: Path) -> None:
    assert OutlineReader.find(tmp_path) is None
    library = Library(runs / "pieces", load_piece)
    for covers in (True, False):
        tasks = {row.task for n in range(8) for row in draw_batch(library, np.random.default_rng(n), SHAPE, covers)}
        assert ("cover" in tasks) == covers


def test_labels_are_the_genre_and_what_plays() -> None:
    song = song_number(TRAINING, 0)
    found = {name for name, value in zip(LABELS, labels(song), strict=True) if value}
    played = {voice for voice in (song.bass, song.chord, song.melody) if voice}
    assert found == {song.genre, *played, *({"drums", f"kit {song.kit}"} if song.drums else ())}


def test_the_tasks_start_from_the_trained_timbre(runs: Path, tmp_path: Path) -> None:
    for name in ("model.pt", "pieces"):
        (tmp_path / name).symlink_to(runs / name)
    before = torch.load(runs / "model.pt", weights_only=True)["average"]
    train_timbre(tmp_path, 2, "cpu")
    state = torch.load(tmp_path / training.STATE, weights_only=True)
    known = state["average"].keys() & before.keys() - {"text_encoder.embed_tokens.weight"}
    changed = {name for name in known if not torch.equal(state["average"][name], before[name])}
    assert changed
    assert all(".timbre_encoder." in name for name in changed)
    assert state["step"] == 0
    Checkpoints(tmp_path / training.STATE).save({**state, "step": 1})
    with pytest.raises(FileExistsError, match="before"):
        train_timbre(tmp_path, 2, "cpu")


def test_training_saves_packs_and_resumes(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.first_edition.ace_step.tasks.examples.SECONDS_PER_STEP", 40.0)
    monkeypatch.setattr(training, "validate", lambda *_: {})
    weights = torch.load(runs / "model.pt", weights_only=True)["average"]
    for steps in (1, 2):
        training.train_tasks(runs, steps, "cpu", 1e-3, compile_it=False)
        assert torch.load(runs / training.STATE, weights_only=True)["step"] == steps
    trained = torch.load(runs / training.STATE, weights_only=True)["weights"]
    changed = [name for name, value in weights.items() if not torch.equal(trained[name], value)]
    assert any("proj_in_conv" in name for name in changed)
    _codec(runs)
    pack(runs, tmp_path / "packed")
    pipeline = AceStepPipeline.from_pretrained(tmp_path / "packed", dtype=torch.float32)
    source = 0.1 * torch.randn(1, 48_000)
    options = {"prompt": "trap", "lyrics": "", "num_inference_steps": 2, "guidance_scale": 3.0, "src_audio": source}
    for task in ("repaint", "cover", "complete"):
        audio = pipeline(
            task_type=task, reference_audio=source, repainting_start=0.5, repainting_end=1.0, **options
        ).audios
        assert torch.isfinite(audio).all()
        assert audio.shape == (1, 1, 48_000)

    unpack(tmp_path / "packed", tmp_path / "again")
    pack(tmp_path / "again", tmp_path / "packed again")
    weights = [path.relative_to(tmp_path / "packed") for path in (tmp_path / "packed").rglob("*.safetensors")]
    assert len(weights) == 6
    for path in weights:
        assert (tmp_path / "packed" / path).read_bytes() == (tmp_path / "packed again" / path).read_bytes()


def _codec(runs: Path) -> None:
    from recipes.first_edition.ace_step.architecture import build_codec

    build_codec().save_pretrained(runs / "codec-unit")


def test_the_measures_of_edits() -> None:
    rate, bpm = measures.RATE, 120
    clicks = np.zeros(8 * rate, np.float32)
    clicks[:: rate // 2] = 1
    clicks = np.convolve(clicks, np.exp(-np.arange(400) / 60) * np.sin(np.arange(400)), "same").astype(np.float32)
    assert tempo_ratio(clicks, bpm) == pytest.approx(1, abs=0.005)
    assert np.isnan(tempo_ratio(clicks, 97))
    late = np.roll(clicks, int(0.05 * rate))
    assert beat_offset(late, clicks, bpm) == pytest.approx(0.05, abs=0.006)
    song = song_number(TRAINING, 2)
    audio, other = (render(found, 6.0, rate, 1)[0] for found in (song, replace(song, root=(song.root + 6) % 12)))
    assert chroma_likeness(audio, audio) == pytest.approx(1, abs=1e-4)
    assert chroma_likeness(audio, other) < 0.5
    assert nearest(np.ones(20), np.stack([np.zeros(20), np.full(20, 0.9)]), np.ones(20)) == 1


def test_weights_are_one_in_the_mean() -> None:
    row = Example("repaint", "", torch.zeros(10, LATENT), None, torch.tensor([0.0] * 6 + [1.0] * 4))
    assert row.weights.mean() == pytest.approx(1)
