"""The producer's music in the tagger's embedding as a file, and the distance of later tracks of the twin from it."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from training.evaluation.audio_measures import Audio
from training.evaluation.listening import EmbeddedPiece, embedding_of
from training.evaluation.resemblance import OwnMusic

# The pieces of a track that are compared: as long as those of the report, which bounds the time that they take.
_PIECE_SECONDS = 6.0
_MAX_PIECES = 3


def write(pieces: Sequence[EmbeddedPiece]) -> bytes:
    """The pieces as an `.npz` file."""
    file = io.BytesIO()
    np.savez_compressed(
        file,
        sources=np.array([piece.source for piece in pieces]),
        songs=np.array([piece.song for piece in pieces]),
        windows=np.array([len(piece.embedding) for piece in pieces]),
        embedding=np.concatenate([piece.embedding for piece in pieces]),
    )
    return file.getvalue()


def read(data: bytes) -> OwnMusic:
    """The music of a file that `write` made."""
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        embeddings = np.split(stored["embedding"], np.cumsum(stored["windows"])[:-1])
        rows = zip(stored["sources"].tolist(), stored["songs"].tolist(), embeddings, strict=True)
        return OwnMusic([EmbeddedPiece(*row) for row in rows])


def distance(music: OwnMusic, audio: Audio, rate: int) -> float:
    """The distance of mono audio from the music, as in the twin report's `resemblance`."""
    length = round(_PIECE_SECONDS * rate)
    count = max(1, min(_MAX_PIECES, len(audio) // length))
    starts = np.linspace(0, max(0, len(audio) - length), count).astype(int)
    pieces = [
        EmbeddedPiece(f"piece {start}", "track", embedding_of(audio[start : start + length], rate)) for start in starts
    ]
    return music.distance(pieces).value
