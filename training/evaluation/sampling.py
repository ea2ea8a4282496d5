"""Music that a model makes for the report: previews, and pieces with and without the twin."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from adapters.adapter_file import Header
from adapters.weights import AdapterWeights, FlatPairs, LoraPair
from contract import SamplingOptions
from models.base import Model, Row, Text
from training import kept

_FIRST_SEED = 0
_BATCH = 8

Track = NDArray[np.float32]


def play(
    model: Model,
    texts: Sequence[Text],
    seconds: float,
    pairs: Mapping[str, LoraPair] | None = None,
    check_stop: Callable[[], None] = lambda: None,
    played: dict[str, Track] | None = None,
) -> list[Track]:
    """A piece `[channels, samples]` for each text, with fixed seeds.

    Args:
        pairs: the adapter to play with, by layer; the base model if None.
        check_stop: called before each batch; it may raise to stop.
        played: pieces of earlier calls, which are not made again; those of this call are added.
    """
    rows = _rows(model, texts, seconds, pairs)
    if played is None:
        return _generated(model, rows, check_stop)
    adapter = _digest(pairs)
    names = [f"{adapter} {(row.text, row.seconds, row.options)!r}" for row in rows]
    pieces = _completed(model, rows, [played.get(name) for name in names], check_stop)
    played.update(zip(names, pieces, strict=True))
    return pieces


def play_base(
    model: Model,
    texts: Sequence[Text],
    seconds: float,
    folder: Path | None,
    check_stop: Callable[[], None] = lambda: None,
) -> list[Track]:
    """The pieces of `play` by the base model, of which those are made that are not kept in the folder yet."""
    rows = _rows(model, texts, seconds, None)
    if folder is None:
        return _generated(model, rows, check_stop)
    # A row's options include its seed, so equal inputs give equal audio.
    files = [
        kept.file_of(folder, (row.text, row.seconds, row.options, model.sample_rate), sys.modules[__name__])
        for row in rows
    ]
    found = [kept.read(file) for file in files]
    pieces = _completed(model, rows, found, check_stop)
    for file, before, piece in zip(files, found, pieces, strict=True):
        if before is None:
            kept.write(file, piece)
    return pieces


def _digest(pairs: Mapping[str, LoraPair] | None) -> str:
    """Names an adapter by its contents; empty for the base model."""
    if not pairs:
        return ""
    flat = FlatPairs.of(pairs)
    return hashlib.sha256(repr(flat.shapes).encode() + flat.flat.cpu().view(torch.uint8).numpy().tobytes()).hexdigest()


def _rows(model: Model, texts: Sequence[Text], seconds: float, pairs: Mapping[str, LoraPair] | None) -> list[Row]:
    adapters: list[tuple[AdapterWeights, float]] = []
    if pairs is not None:
        unnamed = Header("", "", model.backend, "", "", max(len(pair.b) for pair in pairs.values()), "", "", "")
        adapters = [(AdapterWeights(unnamed, pairs), 1.0)]
    return [
        Row(text, seconds, SamplingOptions(seed=_FIRST_SEED + number), adapters) for number, text in enumerate(texts)
    ]


def _completed(
    model: Model, rows: Sequence[Row], known: Sequence[Track | None], check_stop: Callable[[], None]
) -> list[Track]:
    """The pieces of the rows, of which those are made that are not known."""
    missing = [row for row, piece in zip(rows, known, strict=True) if piece is None]
    made = iter(_generated(model, missing, check_stop))
    return [next(made) if piece is None else piece for piece in known]


def _generated(model: Model, rows: Sequence[Row], check_stop: Callable[[], None]) -> list[Track]:
    pieces: list[Track] = []
    for start in range(0, len(rows), _BATCH):
        check_stop()
        for track in model.generate(rows[start : start + _BATCH]):
            if isinstance(track, Exception):
                raise track
            pieces.append(track)
    return pieces
