"""The starters' training music: chords, arrangements, performances and effects."""

import numpy as np
import pytest

from recipes.music import effects
from recipes.music.arrangement import (
    BASS_LINES,
    PATTERNS,
    RANGES,
    ArrangedNote,
    Arrangement,
    arrange_piece,
)
from recipes.music.captions import clip_text
from recipes.music.ensembles import ENSEMBLES, INSTRUMENTS
from recipes.music.harmony import harmonise
from recipes.music.performance import Humanisation, perform
from recipes.music.scores import Piece
from recipes.music.songs import played_song
from recipes.synthesiser import sample_song

RATE = 24_000
# Two bars over the tonic, two over the dominant, in C major.
TUNE = Piece(
    "tune", "own", 4.0, 0, "major", [(n, 1.0, p) for n, p in enumerate([60, 64, 67, 64] * 2 + [67, 71, 74, 71] * 2)]
)


def test_each_half_bar_gets_the_triad_that_holds_its_notes() -> None:
    chords = harmonise(TUNE)
    assert [chord.start for chord in chords] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert {chord.classes for chord in chords[:4]} == {(0, 4, 7)}
    assert {chord.classes for chord in chords[4:]} == {(7, 11, 2)}


@pytest.mark.parametrize("name", ENSEMBLES)
def test_every_ensemble_plays_tunes_on_instruments_that_there_are(name: str) -> None:
    for seed in range(6):
        arrangement = arrange_piece(TUNE, name, np.random.default_rng(seed))
        assert {note.role for note in arrangement.notes} >= {"melody", "inner", "bass"}
        for note in arrangement.notes:
            assert note.instrument == "drums" or note.instrument in INSTRUMENTS
            if note.role in RANGES:
                low, high = RANGES[note.role]
                assert low - 14 <= note.pitch <= high + 24
        low, high = ENSEMBLES[name].bpm
        assert low <= arrangement.bpm <= high


def test_a_patterns_notes_are_of_the_chord_and_within_its_time() -> None:
    chord = harmonise(TUNE)[4]
    for name, pattern in PATTERNS.items():
        steps = list(pattern(chord))
        assert steps, name
        allowed = set(chord.classes)
        for start, _, pitches, _ in steps:
            assert chord.start <= start < chord.start + chord.length
            assert {pitch % 12 for pitch in pitches} <= allowed


def test_a_bass_line_is_on_its_tone_within_the_chords_time() -> None:
    chord = harmonise(TUNE)[4]
    for name, line in BASS_LINES.items():
        notes = list(line(chord, 36))
        assert notes, name
        for start, length, pitch in notes:
            assert chord.start <= start < start + length <= chord.start + chord.length
            assert pitch in (36, 48)


def test_an_echo_comes_after_its_time_and_is_softer() -> None:
    click = np.zeros(RATE)
    click[0] = 1
    heard = effects.echo(click, RATE, 0.25, 0.5)
    assert heard[0] == 1 and len(heard) == len(click)
    parts = [np.abs(heard[round(n * RATE / 4) : round((n + 1) * RATE / 4)]).sum() for n in range(3)]
    assert parts[0] > parts[1] > parts[2] > 0
    assert np.array_equal(effects.echo(click, RATE, 0.25, 0.0), click)


def test_a_steady_hand_is_on_the_beat_and_a_free_one_is_near_it() -> None:
    arrangement = arrange_piece(TUNE, "piano", np.random.default_rng(0))
    quarter = 60 / arrangement.bpm
    melody = [note.start for note in melody_of(arrangement)]
    for humanisation, tolerance in ((Humanisation(0.0, 0.0, 0.3), 1e-9), (Humanisation(0.03, 0.005, 0.3), 0.1)):
        played = perform(arrangement, humanisation, 7.5 * quarter, np.random.default_rng(1))
        starts = sorted(note.start for note in played if note.role == "melody")
        expected = [start * quarter for start in melody if start < 8]
        assert np.abs(np.array(starts) - expected).max() <= tolerance
        assert all(20 <= note.velocity <= 127 and note.end > note.start >= 0 for note in played)


def melody_of(arrangement: Arrangement) -> list[ArrangedNote]:
    return [note for note in arrangement.notes if note.role == "melody"]


def test_a_short_piece_is_repeated_in_time() -> None:
    arrangement = arrange_piece(TUNE, "piano", np.random.default_rng(0))
    quarter = 60 / arrangement.bpm
    played = perform(arrangement, Humanisation(0, 0, 0), 40 * quarter, np.random.default_rng(1))
    starts = sorted({note.start / quarter for note in played if note.role == "melody"})
    assert starts == pytest.approx(list(range(40)))


def test_a_song_of_the_synthesiser_keeps_its_notes_on_sampled_instruments() -> None:
    song = sample_song(np.random.default_rng(3), "house", drums=True)
    notes = played_song(song, 8.0)
    assert {note.role for note in notes} >= {"drums", "inner", "bass"}
    assert all(note.instrument == "drums" or note.instrument in INSTRUMENTS for note in notes)


def test_a_room_rings_after_the_sound() -> None:
    click = np.zeros(RATE)
    click[100] = 1
    wet = effects.room(click, RATE, 1.0, 0.5, np.random.default_rng(0))
    assert wet[100] == pytest.approx(1, abs=0.05)
    early, late = (np.sum(wet[a : a + 4000] ** 2) for a in (1000, 16_000))
    assert early > 10 * late > 0


def test_compression_brings_loud_and_soft_together() -> None:
    time = np.arange(2 * RATE) / RATE
    audio = np.sin(2 * np.pi * 220 * time) * np.where(time < 1, 0.05, 0.8)
    squeezed = effects.compress(audio, RATE, 4.0)

    def gap(x: np.ndarray) -> float:
        return np.std(x[RATE + 6000 :]) / np.std(x[6000 : RATE - 6000])

    assert gap(squeezed) < 0.6 * gap(audio)


def test_a_master_is_between_10_db_above_and_below_its_loudness_and_never_clips() -> None:
    noise = np.random.default_rng(0).standard_normal(RATE)
    levels = []
    for seed in range(40):
        audio = effects.master(noise, RATE, np.random.default_rng(seed))
        assert np.abs(audio).max() <= 0.98
        levels.append(20 * np.log10(audio.std()))
    assert min(levels) < -26 and max(levels) > -14
    assert min(levels) > -31 and max(levels) < -9


def test_captions_say_style_instruments_and_metadata_of_every_kind_of_clip() -> None:
    rng = np.random.default_rng(0)
    song = sample_song(rng, "house", drums=True)
    scored = {
        "kind": "score",
        "style": "orchestral",
        "instruments": {"melody": ["oboe"], "inner": ["strings"], "bass": ["cello"]},
        "bpm": 60,
        "tonic": 2,
        "mode": "minor",
        "bar": 3.0,
    }
    said = [clip_text(scored, rng) for _ in range(60)]
    assert all((text.bpm, text.key, text.time_signature) == (60, "D minor", "3") for text in said)
    words = " ".join(text.prompt for text in said)
    assert all(word in words for word in ("orchestral", "oboe", "strings", "cello", "slow", "no drums"))
    assert "fast" not in words
    for kind in ("synthesiser", "sampled song"):
        text = clip_text({"kind": kind, "song": song.as_dict()}, rng)
        assert "house" in text.prompt and text.bpm == song.bpm and text.key == song.key
