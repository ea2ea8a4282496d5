"""Splices the window that was made anew into the source, whose other samples stay as they are."""

from __future__ import annotations

from math import ceil, floor, gcd

import numpy as np
import soxr

from generation.editing.recordings import Samples, Source
from generation.editing.windows import Window
from generation.encode import Sound
from preprocessing.segment import mix

# At each edge, inside the window, the source fades out while the new samples fade in.
CROSSFADE_SECONDS = 0.03
# What is resampled on either side of the window, beyond the resampler's filter.
_MARGIN_SECONDS = 0.1


def splice(source: Source, track: Sound, window: Window) -> Sound:
    """The source with the window's parts of the track, at the source's rate and channels, in its sample format.

    Samples outside the window are the source's own. Inside, at edges that border on the source, the two cross-fade with
    equal power. Where the source has no samples to fade out, as at the end that is extended, its last ones run
    backwards. The parts of the result are the source's own and made anew in turn; the first and the last may be empty.
    """
    rate, own = source.sample_rate, source.samples
    lead = round(window.before * rate)
    parts, done = [], 0
    for span in window.spans:
        # Rounded as times of the source, so that no sample of it is left out.
        start, end = (lead + round((seconds - window.before) * rate) for seconds in span)
        parts += [own[max(0, done - lead) : max(0, start - lead)], _made(source, track, start, end, lead)]
        done = end
    return Sound((*parts, own[max(0, done - lead) :]), rate, source.sample_format)


def _made(source: Source, track: Sound, start: int, end: int, lead: int) -> Samples:
    """Frames `start` to `end` of the track, faded into the source, which begins at frame `lead` of the track."""
    rate, own = source.sample_rate, source.samples
    made = mix(_resampled(track, start, end, rate), own.shape[1]) * np.float32(source.peak)
    fade = min(round(CROSSFADE_SECONDS * rate), (end - start) // 2)
    if fade and start > lead:
        made[:fade] = cross_fade(_following(own, start - lead, fade), made[:fade])
    if fade and end - lead < len(own):
        preceding = _following(own[::-1], len(own) - (end - lead), fade)[::-1]
        made[-fade:] = cross_fade(made[-fade:], preceding)
    return made


def cross_fade(before: Samples, after: Samples) -> Samples:
    """Fade from one sound to the other at equal power, however alike they are."""
    angle = ((np.arange(len(before), dtype=np.float32) + 0.5) * (np.pi / 2 / len(before)))[:, None]
    energy = float(np.sqrt((before**2).sum() * (after**2).sum()))
    likeness = max(0.0, float((before * after).sum()) / energy) if energy else 0.0
    faded = before * np.cos(angle) + after * np.sin(angle)
    return (faded / np.sqrt(1 + likeness * np.sin(2 * angle))).astype(np.float32)


def _following(samples: Samples, at: int, count: int) -> Samples:
    """`count` frames from `at`; behind the last frame they run backwards."""
    found = samples[at : at + count]
    missing = count - len(found)
    if not missing:
        return found
    return np.pad(samples[max(0, at - count) : at + count], ((0, missing), (0, 0)), mode="symmetric")[-count:]


def _resampled(track: Sound, start: int, end: int, rate: int) -> Samples:
    """Frames `start` to `end` of the track as if it had `rate`; only these and a margin are resampled."""
    step = track.sample_rate // gcd(track.sample_rate, rate)
    # A multiple of `step` frames is a whole number of frames at `rate` as well.
    first = max(0, floor((start / rate - _MARGIN_SECONDS) * track.sample_rate)) // step * step
    last = ceil((end / rate + _MARGIN_SECONDS) * track.sample_rate)
    part = track.floats(first, last)
    if track.sample_rate != rate:
        part = soxr.resample(part, track.sample_rate, rate, quality="HQ")
    offset = start - first * rate // track.sample_rate
    part = part[offset : offset + end - start]
    # A track whose length was rounded to the model's frames may lack its last samples.
    return np.pad(part, ((0, end - start - len(part)), (0, 0)))
