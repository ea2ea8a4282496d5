"""The training corpus on disk: numbered, reproducible clips in shards of 16-bit audio."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recipes.synthesiser import GENRES, render, sample_song
from recipes.synthesiser.captions import metadata

from . import effects
from .arrangement import arrange_piece
from .ensembles import ENSEMBLES
from .performance import Humanisation, draw_humanisation, perform
from .sampler import Sampler
from .scores import Piece
from .songs import played_song

RATE = 24_000
SECONDS = 12.0
CLIPS_PER_SHARD = 24
"""Clips to a file."""
SEED = 20
KINDS = ("score", "score", "synthesiser", "sampled song")
"""Kinds of clips in turn: arranged scores, songs of the synthesiser, its songs on sampled instruments."""
MAX_DETUNE_CENTS = 50.0


class ClipRenderer:
    """Renders clips by number.

    Args:
        pieces: from `scores.read_pieces`.
        fonts: SoundFonts, one of which is drawn for each clip.
    """

    def __init__(self, pieces: list[Piece], fonts: list[Path]) -> None:
        self._pieces = pieces
        self._samplers = [Sampler(font, RATE) for font in fonts]

    def clip(self, number: int) -> tuple[np.ndarray, dict[str, Any]]:
        """Mono audio, float32 `[samples]`, and its record."""
        rng = np.random.default_rng([SEED, number])
        kind = KINDS[number % len(KINDS)]
        cents = float(rng.uniform(-MAX_DETUNE_CENTS, MAX_DETUNE_CENTS))
        if kind == "score":
            audio, record = self._score(rng, cents)
        else:
            song = sample_song(rng, GENRES[number // len(KINDS) % len(GENRES)])
            record = {"song": song.as_dict(), **metadata(song), "style": song.genre}
            if kind == "synthesiser":
                # Detuned by rendering at another rate: played back at RATE, pitch and tempo shift.
                rate = round(RATE * 2 ** (-cents / 1200))
                length = round(SECONDS * RATE)
                audio = render(song, length / rate + 0.01, rate, 1)[0][:length]
            else:
                sampler = self._samplers[rng.integers(len(self._samplers))]
                kit = int(rng.choice((0, 8, 24, 25)))
                audio = sampler.render(played_song(song, SECONDS), SECONDS, cents, kit).mean(0)
                audio = effects.room(audio, RATE, rng.uniform(0.2, 1.2), rng.uniform(0.1, 0.5), rng)
        return effects.master(audio, RATE, rng), {"number": number, "kind": kind, "cents": cents, **record}

    def _score(self, rng: np.random.Generator, cents: float) -> tuple[np.ndarray, dict[str, Any]]:
        piece = self._pieces[rng.integers(len(self._pieces))]
        ensemble = list(ENSEMBLES)[rng.integers(len(ENSEMBLES))]
        arrangement = arrange_piece(piece, ensemble, rng)
        humanisation: Humanisation = draw_humanisation(rng, steady="drums" in arrangement.instruments)
        notes = perform(arrangement, humanisation, SECONDS, rng)
        cast = ENSEMBLES[ensemble]
        sampler = self._samplers[rng.integers(len(self._samplers))]
        audio = sampler.render(notes, SECONDS, cents, int(rng.choice(cast.kits))).mean(0)
        audio = effects.echo(audio, RATE, 45 / arrangement.bpm, cast.echo * rng.uniform())
        audio = effects.distort(audio, cast.drive * rng.uniform(0.3, 1.0))
        audio = effects.room(audio, RATE, rng.uniform(*cast.room), rng.uniform(0.1, 0.7), rng)
        record = {
            "piece": piece.name,
            "collection": piece.collection,
            "style": ensemble,
            "instruments": arrangement.instruments,
            "bpm": arrangement.bpm,
            "tonic": arrangement.piece.tonic,
            "mode": arrangement.piece.mode,
            "bar": piece.bar,
        }
        return audio, record


def write_shards(folder: Path, renderer: ClipRenderer, first: int, count: int) -> None:
    """Write the shards that hold clips `first` to `first + count`; existing files are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(first // CLIPS_PER_SHARD, -(-(first + count) // CLIPS_PER_SHARD)):
        path = folder / f"{shard:05d}.npy"
        if path.exists():
            continue
        clips, records = [], []
        for number in range(shard * CLIPS_PER_SHARD, (shard + 1) * CLIPS_PER_SHARD):
            audio, record = renderer.clip(number)
            clips.append(np.round(audio * 32767).astype(np.int16))
            records.append(record)
        path.with_suffix(".json").write_text(json.dumps(records))
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.save(file, np.stack(clips))
        partial.rename(path)
        print(f"{folder.name} {(shard + 1) * CLIPS_PER_SHARD}", flush=True)


@dataclass(frozen=True)
class Shards:
    """The shards in a folder."""

    folder: Path

    def paths(self) -> list[Path]:
        return sorted(self.folder.glob("*.npy"))

    def __iter__(self) -> Iterator[tuple[np.ndarray, list[dict[str, Any]]]]:
        """Each shard's audio, int16 `[CLIPS_PER_SHARD, samples]` (mapped, not read), and its records."""
        for path in self.paths():
            yield np.load(path, mmap_mode="r"), json.loads(path.with_suffix(".json").read_text())
