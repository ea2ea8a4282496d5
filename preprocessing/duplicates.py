"""Duplicates: the same recording again, trimmed, faded, a little faster or slower, equalised, limited or encoded.

Two fingerprints are aligned by cross-correlation: probes of the later song are searched in the earlier one, and the
alignment is the line (offset and speed) on which they match best. Aligned, both must agree in every octave: another
arrangement or another key agrees in some octaves only. A change of speed shifts the bands as much as it stretches time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import uniform_filter1d

from preprocessing.fingerprint import BANDS_PER_OCTAVE, FRAME_RATE, OCTAVES, STEPS_PER_DECIBEL, Fingerprint

Array = NDArray[np.float32]

MIN_PROBE_MATCH = 0.45  # below it, the songs are not compared in full
MIN_AGREEMENT = 0.7
MIN_OCTAVE_AGREEMENT = 0.55
MIN_OVERLAP = 0.8  # of the longer song
MAX_SPEED_CHANGE = 0.045
MIN_FRAMES = 32  # 1.5 s; a shorter song is compared with none

_WHITENING_SECONDS = 4.0
_MAX_DECIBELS = 25.0
_POOLED_BANDS, _POOLED_FRAMES = 6, 2
_POOLED_RATE = FRAME_RATE / _POOLED_FRAMES
_PROBES = 6
_PROBE_SECONDS = 5.0
_COMPARED_SECONDS = 5.0
_TOLERANCE = 4  # frames by which a part of the song may be off the alignment
_MIN_OCTAVE_SHARE = 0.06  # of the variance; a quieter octave need not agree


@dataclass(frozen=True)
class Alignment:
    """Where the later song lies in the earlier one.

    Attributes:
        match: mean correlation of the probes, −1 to 1.
        speed: seconds of the earlier song that pass in a second of the later one.
        offset: pooled frame of the earlier song where the later one begins.
    """

    match: float
    speed: float
    offset: float


@dataclass(frozen=True)
class Agreement:
    """Correlation of two aligned songs, −1 to 1: of all bands, and of the octave that agrees least."""

    overall: float = 0.0
    weakest_octave: float = 0.0


def duplicates(
    fingerprints: Sequence[Fingerprint | None], unfingerprinted: Sequence[float] | None = None
) -> list[int | None]:
    """For each song the index of the earlier song that it repeats; None for the others and without a fingerprint.

    Args:
        unfingerprinted: seconds of each song after those that its fingerprint covers; 0 by default.
    """
    rests = unfingerprinted or [0.0] * len(fingerprints)
    lengths = [
        0.0 if each is None else each.shape[1] + rest * FRAME_RATE
        for each, rest in zip(fingerprints, rests, strict=True)
    ]
    longest = max((len(each[0]) for each in fingerprints if each is not None), default=0)
    songs = [Song(each, longest) if each is not None and each.shape[1] >= MIN_FRAMES else None for each in fingerprints]
    found: list[int | None] = []
    for index, song in enumerate(songs):
        probes = Probes(song) if song else None
        firsts = (
            (other, songs[other])
            for other in range(index)
            if found[other] is None and can_overlap(lengths[other], lengths[index])
        )
        same = (other for other, first in firsts if first and song and probes and is_same(first, song, probes))
        found.append(next(same, None))
    return found


class Song:
    """A fingerprint prepared for comparison.

    Args:
        longest: frames of the longest song that this one is compared with.
    """

    def __init__(self, fingerprint: Fingerprint, longest: int) -> None:
        self._fingerprint = fingerprint
        frames = fingerprint.shape[1] // _POOLED_FRAMES
        kept = fingerprint[:, : frames * _POOLED_FRAMES]
        pooled = kept.reshape(-1, _POOLED_BANDS, frames, _POOLED_FRAMES).mean(axis=(1, 3), dtype=np.float32)
        self.pooled = whiten(pooled, _POOLED_RATE)
        self.energy = np.concatenate([[0], np.cumsum((self.pooled**2).sum(axis=0))])
        self.transform_length = fft.next_fast_len(
            longest // _POOLED_FRAMES + round(_PROBE_SECONDS * _POOLED_RATE), True
        )
        self.spectrum = fft.rfft(self.pooled, self.transform_length, axis=1)

    @property
    def frames(self) -> int:
        """Pooled frames."""
        return self.pooled.shape[1]

    @property
    def whitened(self) -> Array:
        """(bands, frames); not kept, as it is large."""
        return whiten(self._fingerprint.astype(np.float32), FRAME_RATE)


class Probes:
    """Parts of a song that are searched in others.

    Attributes:
        frames: of the whole song.
        width: frames of a probe.
        starts: frame of the song at which each begins.
        spectra: their conjugate spectra, each of unit energy, (probes, bands, frequencies).
    """

    def __init__(self, song: Song) -> None:
        self.frames = song.frames
        self.width = min(round(_PROBE_SECONDS * _POOLED_RATE), self.frames // 4)
        self.starts = np.linspace(0.05 * self.frames, 0.95 * self.frames - self.width, _PROBES).round().astype(int)
        cut = np.stack([song.pooled[:, start : start + self.width] for start in self.starts])
        scale = np.sqrt((cut**2).sum(axis=(1, 2), keepdims=True))
        self.spectra = fft.rfft(cut / np.maximum(scale, 1e-6), song.transform_length, axis=2).conj()


def whiten(levels: Array, rate: float) -> Array:
    """Levels in dB less their mean over some seconds, which removes equalisation, and over all bands: gain."""
    decibels = levels / STEPS_PER_DECIBEL
    local = uniform_filter1d(decibels, round(_WHITENING_SECONDS * rate), axis=1, mode="nearest")
    difference = decibels - local
    return np.clip(difference - difference.mean(axis=0), -_MAX_DECIBELS, _MAX_DECIBELS)


def can_overlap(one: float, other: float) -> bool:
    """Whether songs of these lengths, in any unit, can have MIN_OVERLAP in common."""
    return min(one, other) >= MIN_OVERLAP * (1 - MAX_SPEED_CHANGE) * max(one, other)


def is_same(first: Song, later: Song, probes: Probes) -> bool:
    """Whether both are one recording; `probes` are the later song's."""
    alignment = align(first, probes)
    if alignment is None:
        return False
    agreement = agree(first, later, alignment)
    return agreement.overall >= MIN_AGREEMENT and agreement.weakest_octave >= MIN_OCTAVE_AGREEMENT


def align(first: Song, later: Probes) -> Alignment | None:
    """The alignment on which the probes match best; None if they match nowhere or overlap too little."""
    if not can_overlap(first.frames, later.frames):
        return None
    matches = _matches(first, later)
    step = max(4, later.frames // 320)
    # A coarse search on maxima over two steps, then a fine one around its best line.
    blocks = -(-matches.shape[1] // step)
    padded = np.zeros((_PROBES, (blocks + 1) * step), matches.dtype)
    padded[:, : matches.shape[1]] = matches
    maxima = padded.reshape(_PROBES, blocks + 1, step).max(axis=2)
    maxima = np.maximum(maxima[:, :-1], maxima[:, 1:])
    speeds = np.linspace(1 - MAX_SPEED_CHANGE, 1 + MAX_SPEED_CHANGE, 2 * (later.frames * 9 // (200 * step)) + 3)
    reach = (1 - MIN_OVERLAP + MAX_SPEED_CHANGE) * max(first.frames, later.frames)
    coarse = _best_line(first, later, maxima, step, speeds, np.arange(-reach, reach, step))
    if coarse is None or coarse.match < MIN_PROBE_MATCH:
        return None
    near = np.arange(-4 * step, 4 * step + 1)
    return _best_line(first, later, matches, 1, coarse.speed + near / later.frames, coarse.offset + near)


def _matches(first: Song, later: Probes) -> Array:
    """Correlation of each probe with each place in `first`, (probes, frames)."""
    spectra = np.einsum("pbf,bf->pf", later.spectra, first.spectrum)
    width = later.width
    places = first.frames - width + 1
    energy = first.energy[width:] - first.energy[:-width]
    least = 1e-3 * first.energy[-1] * width / first.frames + 1e-6
    correlation = fft.irfft(spectra, first.transform_length, axis=1)[:, :places]
    return correlation / np.sqrt(np.maximum(energy, least)).astype(np.float32)


def _best_line(
    first: Song, later: Probes, matches: Array, step: int, speeds: NDArray[np.float64], offsets: NDArray[np.floating]
) -> Alignment | None:
    """The best of the lines with these speeds and offsets; `matches` has one column every `step` frames."""
    lengths = speeds[:, None] * later.frames
    overlap = np.minimum(first.frames, offsets + lengths) - np.maximum(0, offsets)
    rows, columns = np.nonzero(overlap >= MIN_OVERLAP * np.maximum(first.frames, lengths))
    if not len(rows):
        return None
    speed, offset = speeds[rows], offsets[columns]
    places = np.rint(offset + later.starts[:, None] * speed).astype(int) // step
    inside = (places >= 0) & (places < matches.shape[1])
    values = matches[np.arange(_PROBES)[:, None], np.clip(places, 0, matches.shape[1] - 1)]
    scores = (values * inside).mean(axis=0)
    best = scores.argmax()
    return Alignment(float(scores[best]), float(speed[best]), float(offset[best]))


def agree(first: Song, later: Song, alignment: Alignment) -> Agreement:
    """How far two songs agree where they overlap."""
    one, other = first.whitened, _warped(later.whitened, alignment.speed)
    offset = round(alignment.offset * _POOLED_FRAMES)
    begin, end = max(0, offset), min(one.shape[1], offset + other.shape[1])
    size = min(round(_COMPARED_SECONDS * FRAME_RATE), (end - begin) // 4)
    other = other[:, begin - offset : end - offset]
    one = np.pad(one, ((0, 0), (_TOLERANCE, _TOLERANCE)))

    def sums(product: Array) -> Array:
        """(octaves, parts)"""
        parts = product.shape[1] // size
        cut = product[:, : parts * size].reshape(OCTAVES, BANDS_PER_OCTAVE, parts, size)
        return cut.sum(axis=(1, 3))

    shifted = [one[:, begin + shift : end + shift] for shift in range(2 * _TOLERANCE + 1)]
    products = np.stack([sums(each * other) for each in shifted])
    energies = np.stack([sums(each * each) for each in shifted])
    energy = sums(other * other)
    best = (products.sum(axis=1) / np.sqrt(energies.sum(axis=1) * energy.sum(axis=0) + 1e-6)).argmax(axis=0)
    chosen = best, slice(None), np.arange(len(best))
    product, energies = products[chosen].T.sum(axis=1), energies[chosen].T.sum(axis=1)
    scale = np.sqrt(energies * energy.sum(axis=1)) + 1e-6
    octaves = product / scale
    audible = scale >= _MIN_OCTAVE_SHARE * scale.sum()
    return Agreement(float(product.sum() / scale.sum()), float(octaves[audible].min()))


def _warped(whitened: Array, speed: float) -> Array:
    """The song as it would be at the earlier song's speed: bands and frames between its own, interpolated."""
    shifted = interpolated(whitened, np.arange(len(whitened)) + BANDS_PER_OCTAVE * np.log2(speed))
    return interpolated(shifted.T, np.arange(int(speed * whitened.shape[1])) / speed).T


def interpolated(rows: Array, places: NDArray[np.float64]) -> Array:
    """The values between rows at fractional `places`."""
    places = np.clip(places, 0, len(rows) - 1)
    lower = np.minimum(places.astype(int), len(rows) - 2)
    share = (places - lower).astype(np.float32)[:, None]
    return rows[lower] * (1 - share) + rows[lower + 1] * share
