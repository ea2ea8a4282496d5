"""Tracks that repeat training segments are found, other pieces of the same producer are not."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import soxr
from librosa.effects import pitch_shift, time_stretch

from preprocessing.decoders import Samples
from preprocessing.features import RATE
from preprocessing.memorised import MEMORISED_SIMILARITY, Nearest, TrainingSegments
from recipes.synthesiser import GENRES, render, sample_song

# Each genre is a producer. The synthesiser's other styles repeat whole bars from song to song.
PRODUCERS = GENRES
SONGS, SECONDS = 3, 15
# Speed, semitones, and whether the speed changes the pitch as well.
CHANGES = [
    *((speed, 0, with_pitch) for speed in (0.97, 1.03) for with_pitch in (True, False)),
    *((speed, semitones, False) for speed, semitones in ((1.0, -2), (0.97, -1), (1.03, 1), (1.0, 2))),
    *((1.03, 2, True), (0.97, -2, True)),
]
CHANGES_OF_EACH = 5


@cache
def song(producer: str, number: int) -> Samples:
    style = sample_song(np.random.default_rng([77, number]), producer)
    return render(style, SECONDS, RATE, 1)[0]


@cache
def trained(producer: str) -> TrainingSegments:
    """A twin of the producer's first songs, of one segment each."""
    segments = TrainingSegments()
    for number in range(SONGS):
        segments.add(number, song(producer, number), RATE)
    return TrainingSegments.read(segments.write())


def nearest(segments: TrainingSegments, track: Samples, rate: int = RATE) -> Nearest | None:
    return segments.nearest_to(track, rate)


def changed(audio: Samples, speed: float, semitones: int, with_pitch: bool) -> Samples:
    shifted = pitch_shift(audio, sr=RATE, n_steps=semitones) if semitones else audio
    if with_pitch:
        return soxr.resample(shifted, RATE, RATE / speed)
    return time_stretch(shifted, rate=speed) if speed != 1 else shifted


@pytest.mark.slow
def test_training_pieces_at_other_speeds_and_in_other_keys_are_found() -> None:
    missed, pairs = [], 0
    for place, producer in enumerate(PRODUCERS):
        for number in range(CHANGES_OF_EACH):
            change = CHANGES[(2 * number + place) % len(CHANGES)]
            start = (place + number) % 7 * RATE
            excerpt = song(producer, number % SONGS)[start : start + 8 * RATE]
            found = nearest(trained(producer), changed(excerpt, *change))
            assert found is not None and found.segment == number % SONGS, (producer, change, found)
            pairs += 1
            if not found.memorised:
                missed.append((producer, change, found))
    assert len(missed) <= 0.05 * pairs, missed


@pytest.mark.slow
def test_other_pieces_of_the_producer_are_not_found() -> None:
    false, pairs = [], 0
    for producer in PRODUCERS:
        for number in range(SONGS, SONGS + 3):
            found = nearest(trained(producer), song(producer, number))
            assert found is not None
            pairs += 1
            if found.memorised:
                false.append((producer, number, found))
    assert len(false) <= 0.02 * pairs, false


def test_a_copy_within_a_longer_track_is_found() -> None:
    copy = song("lofi", 1)[4 * RATE : 12 * RATE]
    track = np.concatenate([song("lofi", 5), copy, song("lofi", 6)]).astype(np.float32)
    found = nearest(trained("lofi"), soxr.resample(track, RATE, 48_000), 48_000)
    assert found is not None and found.segment == 1 and found.memorised


def test_a_short_copy_across_the_cut_between_two_segments_is_found() -> None:
    segments, cut = TrainingSegments(), 8 * RATE
    for number, part in enumerate((song("lofi", 0)[:cut], song("lofi", 0)[cut:], song("lofi", 1))):
        segments.add(number, part, RATE, song=number // 2)
    copy = changed(song("lofi", 0)[cut - 3 * RATE : cut + 3 * RATE], 1.03, 1, False)
    found = nearest(TrainingSegments.read(segments.write()), copy)
    assert found is not None and found.memorised and found.segment == 0


@pytest.mark.parametrize("seconds", [0.0, 0.01, 4.0])
def test_a_track_that_is_too_short_is_near_to_nothing(seconds: float) -> None:
    assert nearest(trained("house"), song("house", 0)[: round(seconds * RATE)]) is None


def test_segments_that_are_too_short_are_left_out() -> None:
    segments = TrainingSegments()
    for number, seconds in enumerate((0.05, 4.0, 6.0)):
        segments.add(number, song("house", 0)[: round(seconds * RATE)], RATE)
    found = nearest(segments, song("house", 0))
    assert len(segments) == 1 and found is not None and found.segment == 2


def test_silence_is_near_to_nothing_and_no_segment() -> None:
    silence = np.zeros(10 * RATE, np.float32)
    assert nearest(trained("house"), silence) is None
    segments = TrainingSegments()
    segments.add(0, silence, RATE)
    assert len(segments) == 0 and nearest(TrainingSegments.read(segments.write()), song("house", 0)) is None


def test_steady_tones_are_no_copies_of_each_other() -> None:
    """What does not change over time has nothing to be recognised by."""
    time = np.arange(10 * RATE) / RATE
    low, high = (np.sin(2 * np.pi * pitch * time).astype(np.float32) for pitch in (220.0, 233.1))
    segments = TrainingSegments()
    segments.add(0, low, RATE)
    found = nearest(segments, high)
    assert found is not None and found.similarity < MEMORISED_SIMILARITY
