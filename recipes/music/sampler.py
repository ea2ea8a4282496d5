"""Plays notes on sampled instruments by FluidSynth (`pyfluidsynth` and Debian's `libfluidsynth3`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .ensembles import INSTRUMENTS
from .performance import PlayedNote

DRUM_CHANNEL = 9
BLOCK = 64
"""Samples that FluidSynth computes at a time."""


class Sampler:
    """One SoundFont, loaded once.

    Args:
        font: `.sf2` or `.sf3`.
        rate: samples a second.
    """

    def __init__(self, font: Path, rate: int) -> None:
        import fluidsynth

        self.rate = rate
        options = {"synth.reverb.active": 0, "synth.chorus.active": 0, "synth.dynamic-sample-loading": 1}
        self._synth: Any = fluidsynth.Synth(gain=0.25, samplerate=float(rate), channels=16, **options)
        self._font = self._synth.sfload(str(font))
        if self._font < 0:
            raise ValueError(f"{font}: not a SoundFont that FluidSynth reads")

    def render(self, notes: Sequence[PlayedNote], seconds: float, cents: float = 0.0, kit: int = 0) -> np.ndarray:
        """Stereo float32 `[2, samples]`, everything tuned `cents` off.

        Args:
            kit: program of the drum kit, such as 0 (standard), 16 (power), 25 (electronic).
        """
        synth = self._synth
        synth.system_reset()
        names = sorted({note.instrument for note in notes} - {"drums"})
        if len(names) > 15:
            raise ValueError(f"{len(names)} instruments; one SoundFont plays 15 at once beside drums")
        free = [channel for channel in range(16) if channel != DRUM_CHANNEL]
        channels = dict(zip(names, free, strict=False)) | {"drums": DRUM_CHANNEL}
        for name, channel in channels.items():
            bank, program = (128, kit) if name == "drums" else (0, INSTRUMENTS[name][0])
            synth.program_select(channel, self._font, bank, program)
            if name != "drums":
                synth.pitch_bend(channel, round(cents / 200 * 8192))

        events = [(note.start, 1, channels[note.instrument], note.pitch, note.velocity) for note in notes]
        events += [(note.end, 0, channels[note.instrument], note.pitch, 0) for note in notes]
        samples = round(seconds * self.rate)
        parts, done = [], 0
        for time, on, channel, pitch, velocity in sorted(events):
            until = min(samples, round(time * self.rate / BLOCK) * BLOCK)
            if until > done:
                parts.append(synth.get_samples(until - done))
                done = until
            if on:
                synth.noteon(channel, pitch, velocity)
            else:
                synth.noteoff(channel, pitch)
        if samples > done:
            parts.append(synth.get_samples(samples - done))
        return np.concatenate(parts).reshape(-1, 2).T.astype(np.float32) / 32768
