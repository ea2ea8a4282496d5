"""The measurements of a piece by which it is compared with others."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from preprocessing.tagger import embedding, musicnn
from preprocessing.tagger.embedding import SIZE, embed
from training import kept
from training.evaluation import audio_measures
from training.evaluation.audio_measures import Audio

# All pieces are embedded at this level (root mean square), because the network's input depends on it.
_LEVEL = 0.1
_MIN_SECONDS = 3.0
_MEASURING = (audio_measures, embedding, musicnn)


@dataclass(frozen=True)
class EmbeddedPiece:
    """The position of a piece in the tagger's embedding.

    Attributes:
        source: names the music. A piece and its copy through the codec have one source.
        song: names the song that it is an excerpt of.
        embedding: `[windows, 200]`, of windows of three seconds.
    """

    source: str
    song: str
    embedding: NDArray[np.float32]


@dataclass(frozen=True)
class Piece(EmbeddedPiece):
    """The measurements of a piece.

    Attributes:
        pulse, persistence: as in `audio_measures`.
    """

    pulse: float
    persistence: float


def listen(
    audio: Audio,
    rate: int,
    source: str,
    song: str | None = None,
    network: Literal["mtt", "msd"] = "msd",
    folder: Path | None = None,
) -> Piece:
    """Measure mono audio.

    Args:
        song: the source itself if there is none.
        network: of the tagger's two, the one whose embedding is taken.
        folder: where the measurements are kept for audio of the same content.
    """

    def measured() -> NDArray[np.float64]:
        both = audio_measures.pulse(audio, rate), audio_measures.persistence(audio, rate)
        return np.concatenate([both, embedding_of(audio, rate, network).ravel()])

    inputs = (kept.digest_of(audio), rate, network)
    file = folder and kept.file_of(folder, inputs, sys.modules[__name__], *_MEASURING)
    pulse, persistence, *rest = kept.kept(file, measured)
    return Piece(source, song or source, np.array(rest, np.float32).reshape(-1, SIZE), float(pulse), float(persistence))


def embedding_of(audio: Audio, rate: int, network: Literal["mtt", "msd"] = "msd") -> NDArray[np.float32]:
    """The embedding `[windows, 200]` of mono audio, which is repeated if it is shorter than a window."""
    return embed(_prepared(audio, rate), rate, network)


def middle(audio: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """The middle of `[channels, samples]`, at most `samples` long."""
    start = max(0, audio.shape[1] - samples) // 2
    return audio[:, start : start + samples]


def levelled(audio: Audio) -> Audio:
    """The audio at the level at which all pieces are embedded. Silence stays silent."""
    level = float(np.sqrt(np.mean(audio**2)))
    return (audio * np.float32(_LEVEL / max(level, 1e-6))).astype(np.float32)


def _prepared(audio: Audio, rate: int) -> Audio:
    """The audio at the common level, repeated if it is shorter than a window."""
    at_level = levelled(audio)
    return np.resize(at_level, max(len(at_level), round(_MIN_SECONDS * rate)))
