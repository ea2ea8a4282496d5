"""The synthesiser: reproducible songs with measurable tempo, key and drums."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import soundfile

from recipes.first_edition import measures
from recipes.synthesiser import GENRES, UNSEEN_STYLES, Song, caption, metadata, render, sample_song
from recipes.synthesiser.arrange import form

SECONDS = 12.0


@pytest.fixture(scope="module")
def rendered() -> list[tuple[Song, np.ndarray, np.ndarray]]:
    """Four songs of each genre, with drums where it has them: song, mono audio, onset strength."""
    rng = np.random.default_rng(5)
    songs = [sample_song(rng, genre) for genre in GENRES for _ in range(4)]
    rendered = [render(song, SECONDS, measures.RATE, 1)[0] for song in songs]
    return [(song, audio, measures.onsets(audio)) for song, audio in zip(songs, rendered, strict=True)]


@pytest.mark.parametrize("genre", GENRES + UNSEEN_STYLES)
@pytest.mark.parametrize(("rate", "channels"), [(48_000, 2), (24_000, 1), (44_100, 2)])
def test_length_rate_channels_and_level(genre: str, rate: int, channels: int) -> None:
    audio = render(sample_song(np.random.default_rng(0), genre), 3.3, rate, channels)
    assert audio.shape == (channels, round(3.3 * rate))
    assert audio.dtype == np.float32
    assert np.isfinite(audio).all()
    assert np.abs(audio).max() == pytest.approx(0.8, abs=1e-4)


def test_the_same_seed_is_the_same_music() -> None:
    first, second = (sample_song(np.random.default_rng(9), "house") for _ in range(2))
    assert first == second
    assert np.array_equal(render(first, 4), render(second, 4))
    assert Song(**first.as_dict()) == first


def test_another_seed_is_other_music() -> None:
    rng = np.random.default_rng(9)
    first, second = sample_song(rng, "house"), sample_song(rng, "house")
    assert not np.array_equal(render(first, 4), render(second, 4))


def test_fields_can_be_pinned_and_mistakes_are_refused() -> None:
    rng = np.random.default_rng(0)
    song = sample_song(rng, "trap", bpm=141, root=3, mode="minor", drums=False)
    assert (song.bpm, song.key, song.drums) == (141, "D# minor", False)
    with pytest.raises(ValueError, match="polka"):
        sample_song(rng, "polka")
    with pytest.raises(TypeError, match="tempo"):
        sample_song(rng, "trap", tempo=3)


@pytest.mark.slow
def test_the_tempo_is_measurable(rendered: list[tuple[Song, np.ndarray, np.ndarray]]) -> None:
    beats = [(song, strength) for song, _, strength in rendered if song.drums]
    at_tempo = [measures.pulse(strength, song.bpm) for song, strength in beats]
    beside = [measures.pulse(strength, 1.13 * song.bpm) for song, strength in beats]
    assert np.mean(at_tempo) > 0.6
    assert np.mean(at_tempo) > np.mean(beside) + 0.3
    right = [measures.tempo_error(measures.tempo(strength), song.bpm) < 0.04 for song, strength in beats]
    assert np.mean(right) > 0.6


@pytest.mark.slow
def test_the_key_is_measurable(rendered: list[tuple[Song, np.ndarray, np.ndarray]]) -> None:
    right = [measures.same_key(measures.key(audio), (song.root, song.mode)) for song, audio, _ in rendered]
    assert np.mean(right) > 0.5


@pytest.mark.parametrize("genre", [genre for genre in GENRES if genre != "ambient"])
def test_drums_are_measurable(genre: str) -> None:
    def strength(drums: bool) -> float:
        song = sample_song(np.random.default_rng(3), genre, drums=drums)
        return measures.drum_strength(render(song, 8, measures.RATE, 1)[0])

    assert strength(True) > 1.5 * strength(False)


def test_a_minute_has_a_form_and_a_short_piece_is_a_loop() -> None:
    song = sample_song(np.random.default_rng(1), "house", bpm=124, drums=True)
    assert set(form(song, 60)) == {"intro", "drop", "break", "outro"}
    assert set(form(song, 8)) == {"drop"}
    audio = render(song, 60, 24_000, 1)[0]
    bar = song.bar_seconds * 24_000
    loudness = [np.square(audio[int(i * bar) : int((i + 1) * bar)]).mean() for i in range(30)]
    quiet = [level for level, section in zip(loudness, form(song, 60), strict=False) if section == "break"]
    loud = [level for level, section in zip(loudness, form(song, 60), strict=False) if section == "drop"]
    assert np.mean(quiet) < 0.5 * np.mean(loud)


@pytest.mark.parametrize("genre", GENRES + UNSEEN_STYLES)
@pytest.mark.parametrize("held_out", [False, True])
def test_captions_are_words_and_vary(genre: str, held_out: bool) -> None:
    rng = np.random.default_rng(2)
    song = sample_song(rng, genre)
    captions = {caption(song, rng, held_out) for _ in range(30)}
    assert len(captions) > 8
    assert not any("{" in text or "None" in text for text in captions)


def test_metadata_is_in_the_form_that_ace_step_reads() -> None:
    song = sample_song(np.random.default_rng(0), "music box waltz", bpm=100, root=1, mode="major")
    assert metadata(song) == {"bpm": 100, "keyscale": "C# major", "timesignature": "3"}


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_the_command_writes_a_file(tmp_path, suffix: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / f"beat.{suffix}"
    wanted = ["--genre", "trap", "--seconds", "5", "--seed", "1", "--bpm", "140", "--key", "D# minor"]
    command = [sys.executable, "-m", "recipes.synthesiser", *wanted, str(path)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "D# minor" in printed
    info = soundfile.info(path)
    assert info.samplerate == 48_000
    assert info.duration == pytest.approx(5, abs=0.1)
