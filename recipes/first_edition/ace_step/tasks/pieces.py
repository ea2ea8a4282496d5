"""Encoded pieces on disk, some with one of their stems and the rest of the mix, others with a sibling."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from contract.tasks import TrackName

from ....synthesiser import Song
from ....synthesiser.render import TRACKS, render_parts
from ....synthesiser.stems import sibling, stems
from ...clips import LOOP_SECONDS, SONGS_PER_SHARD, Clip, load_clip, seconds_of
from ...data import SAMPLE_RATE, TRAINING, audio_of, on_the_clock, song_number
from ..latents import SongEncoder, unit_codec


@dataclass
class Stems:
    """One stem of a piece.

    Attributes:
        name: of the stem.
        others: the names of the piece's other stems.
        alone: latents of the stem alone, `[T, LATENT]`.
        rest: latents of the mix without it.
    """

    name: TrackName
    others: tuple[TrackName, ...]
    alone: torch.Tensor
    rest: torch.Tensor


@dataclass
class Piece(Clip):
    """A clip with what the tasks need beside it.

    Attributes:
        stems: of some loops.
        sibling: of other loops: latents of another piece with the same instruments.
    """

    stems: Stems | None = None
    sibling: torch.Tensor | None = None


def encode_pieces(runs: Path, first: int, songs: int, device: str, compile_it: bool) -> None:
    """Encode the validation pieces, and `songs` others from number `first`, into `runs/pieces`."""
    codec = unit_codec(runs).to(device).requires_grad_(False)
    write_pieces(runs / "pieces", first, songs, SongEncoder(codec, device, compile_it))


def write_pieces(folder: Path, first: int, songs: int, encode: Callable[[np.ndarray], torch.Tensor]) -> None:
    """The same into `folder` by a function from mono audio `[samples]` to latents `[T, channels]`."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard in (0, *range(first // SONGS_PER_SHARD * SONGS_PER_SHARD, first + songs, SONGS_PER_SHARD)):
        path = folder / f"{shard:06d}.pt"
        if path.exists():
            continue
        partial = path.with_suffix(".partial")
        torch.save(encode_shard(range(shard, shard + SONGS_PER_SHARD), encode), partial)
        partial.rename(path)
        print(f"pieces {shard + SONGS_PER_SHARD}/{first + songs}", flush=True)


def encode_shard(numbers: range, encode: Callable[[np.ndarray], torch.Tensor]) -> list[dict[str, Any]]:
    """The pieces of these numbers in the training set, then siblings, as `load_piece` reads them.

    Of three loops, one has stems and the others a sibling, which is a piece as well.

    Args:
        encode: mono audio `[samples]` to latents `[T, LATENT]`.
    """
    pieces, siblings = [], []
    for number in numbers:
        song, seconds = on_the_clock(song_number(TRAINING, number)), seconds_of(number)
        rng = np.random.default_rng([TRAINING, number, 2])
        if seconds == LOOP_SECONDS and number % 3 == 1 and len(stems(song)) > 1:
            pieces.append(_with_stems(song, rng, encode))
            continue
        piece = _row(song, seconds, encode(audio_of(song, seconds)))
        if seconds == LOOP_SECONDS and number % 3 != 1:
            other = on_the_clock(sibling(song, rng))
            frames = encode(audio_of(other, seconds))
            siblings.append({**_row(other, seconds, frames), "sibling": piece["frames"]})
            piece["sibling"] = frames
        pieces.append(piece)
    return pieces + siblings


def _row(song: Song, seconds: float, frames: torch.Tensor) -> dict[str, Any]:
    return {"song": json.dumps(song.as_dict()), "seconds": seconds, "frames": frames}


def _with_stems(song: Song, rng: np.random.Generator, encode: Callable[[np.ndarray], torch.Tensor]) -> dict[str, Any]:
    parts = stems(song)
    name = list(parts)[rng.integers(len(parts))]
    rest = tuple(track for other in parts if other != name for track in parts[other])
    mix, alone, others = render_parts(song, LOOP_SECONDS, (TRACKS, parts[name], rest), SAMPLE_RATE, 1)
    row = _row(song, LOOP_SECONDS, encode(mix[0]))
    return {**row, "stem": name, "alone": encode(alone[0]), "rest": encode(others[0])}


def load_piece(row: dict[str, Any]) -> Piece:
    """A piece from its row in a file."""
    clip = load_clip(row)
    piece = Piece(clip.song, clip.seconds, clip.frames, sibling=row.get("sibling"))
    if "stem" in row:
        others = tuple(name for name in stems(clip.song) if name != row["stem"])
        piece.stems = Stems(row["stem"], others, row["alone"], row["rest"])
    return piece
