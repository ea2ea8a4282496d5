"""The twin report as JSON. It is first written when the dataset is known, and again as the job proceeds.

`training.evaluation.page` makes an HTML page of it.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from core import plain_json
from preprocessing.memorised import TrainingSegments
from storage import Storage, Unavailable, keys
from training.base import Recipe
from training.evaluation import own_music
from training.evaluation.listening import EmbeddedPiece
from training.history import History
from training.jobs.record import JobRecord
from training.jobs.transitions import JobEnded
from training.version_choice import VersionChoice

log = logging.getLogger("producer_twin.training")

SCHEMA = 1
_MEL_BANDS = 64
_MAX_SPECTROGRAM_COLUMNS = 256


class Report:
    """The report of a job.

    Attributes:
        content: the JSON object. `unmeasured` lists in sentences the measurements that are missing, and why.
    """

    def __init__(self, storage: Storage, record: JobRecord, base: str, base_sha256: str) -> None:
        self._storage, self._job_id = storage, record.job_id
        self.content: dict[str, Any] = {
            "schema": SCHEMA,
            "job_id": record.job_id,
            "producer_id": record.producer_id,
            "model_name": record.model_name,
            "backend": record.backend,
            "base": base,
            "base_sha256": base_sha256,
            "complete": False,
            "written_at": None,
            "verdict": None,
            "data": None,
            "training": None,
            "scales": None,
            "weakened": None,
            "held_out": None,
            "trained_on": None,
            "other_music": None,
            "explained": None,
            "resemblance": None,
            "heard": None,
            "memorised": None,
            "previews": [],
            "comparisons": [],
            "own_clips": [],
            "unmeasured": [],
        }

    def set(self, **content: Any) -> None:
        """Set top-level fields."""
        self.content |= content

    def add_unmeasured(self, sentence: str) -> None:
        """Add a reason why a measurement is missing."""
        self.content["unmeasured"].append(sentence)

    @contextmanager
    def try_measuring(self, name: str) -> Iterator[None]:
        """Report an error in the block as a missing measurement. `JobEnded` passes, since it ends the job."""
        try:
            yield
        except JobEnded:
            raise
        except Exception as error:
            log.exception("job %s: %s", self._job_id, name)
            self.add_unmeasured(f"Not measured because of an error: {name}: {type(error).__name__}: {error}")

    def set_training(self, recipe: Recipe, history: History, choice: VersionChoice) -> None:
        """Set the recipe, the loss curves so far, the version that is kept, and the previews."""
        steps = len(history.losses)
        self.content["training"] = {
            "recipe": recipe.plain(),
            "steps": steps,
            "total_steps": recipe.steps,
            "seconds": round(history.seconds, 1),
            "loss": [[step, round(loss, 6)] for step, loss in history.curve()],
            "held_out_loss": [[step, round(loss, 6)] for step, loss in history.held_out],
            "kept": choice.record(steps),
            "stopped_early": choice.stopped_early(steps),
        }
        self.content["previews"] = [{"step": step, "name": name} for step, name in history.previews]

    def write(self) -> None:
        """Store the report as it is now, unless storage is unavailable."""
        self.content["written_at"] = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            self._storage.put(keys.report(self._job_id), plain_json.encode(self.content, indent=1))
        except Unavailable as error:
            log.warning("the report was not stored: %s", error)

    def store_own_music(self, pieces: Sequence[EmbeddedPiece]) -> None:
        """Store the measurements of the producer's music, at least one piece."""
        self._storage.put(keys.own_music(self._job_id), own_music.write(pieces))

    def store_training_segments(self, segments: TrainingSegments) -> None:
        """Store the fingerprints of the segments that are trained on."""
        self._storage.put(keys.training_segments(self._job_id), segments.write())

    def store_audio(self, name: str, audio: NDArray[np.float32], rate: int, with_spectrogram: bool = False) -> str:
        """Store a piece as `name`.mp3, and its spectrogram as `name`.png. Returns the name of the MP3 file.

        Args:
            audio: `[channels, samples]` at `rate` Hz.
        """
        file = io.BytesIO()
        soundfile.write(file, np.clip(audio.T, -1, 1), rate, format="MP3")
        self._storage.put(keys.preview(self._job_id, f"{name}.mp3"), file.getvalue())
        if with_spectrogram:
            self._storage.put(keys.preview(self._job_id, f"{name}.png"), spectrogram(audio, rate))
        return f"{name}.mp3"


def spectrogram(audio: NDArray[np.float32], rate: int) -> bytes:
    """The mel spectrogram of `[channels, samples]` at `rate` Hz as a PNG file, low frequencies at the bottom."""
    import librosa
    from matplotlib.image import imsave

    mono = audio.mean(axis=0)
    mel = librosa.feature.melspectrogram(
        y=mono, sr=rate, n_mels=_MEL_BANDS, n_fft=2048, hop_length=max(512, len(mono) // _MAX_SPECTROGRAM_COLUMNS)
    )
    file = io.BytesIO()
    imsave(
        file,
        np.repeat(librosa.power_to_db(mel, ref=np.max, top_db=70), 2, axis=0),
        cmap="magma",
        origin="lower",
        format="png",
    )
    return file.getvalue()
