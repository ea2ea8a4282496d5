"""The twin report as JSON: it is there as soon as the data is known, and grows until the job has ended.

What could not be measured is said in `unmeasured`, in sentences. `training.evaluation.page` makes a page of it.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from core import plain_json
from preprocessing.dataset import Dataset
from storage import Storage, Unavailable, keys
from training.base import Recipe
from training.evaluation.split import FEWEST
from training.evaluation.verdict import LEAST_SECONDS
from training.history import History
from training.jobs.store import JobRecord

log = logging.getLogger("producer_twin.training")

SCHEMA = 1
# A song is called clipped when more than this of it stands at full scale.
_CLIPPED = 1e-4
_SILENT = 0.3
_PICTURE = (64, 256)  # mel bands, columns at most


class Report:
    """Attributes:
    content: what is written.
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
            "held_out": None,
            "trained_on": None,
            "other_music": None,
            "resemblance": None,
            "previews": [],
            "comparisons": [],
            "unmeasured": [],
        }

    def say(self, **content: Any) -> None:
        self.content |= content

    def cannot(self, sentence: str) -> None:
        self.content["unmeasured"].append(sentence)

    def progress(self, recipe: Recipe, history: History) -> None:
        """The curves so far."""
        steps = len(history.losses)
        self.content["training"] = {
            "recipe": asdict(recipe) | {"targets": list(recipe.targets)},
            "steps": steps,
            "total_steps": recipe.steps,
            "seconds": round(history.seconds, 1),
            "loss": [[step, round(loss, 6)] for step, loss in history.curve()],
            "held_out_loss": [[step, round(loss, 6)] for step, loss in history.held_out],
        }
        self.content["previews"] = [{"step": step, "name": name} for step, name in history.previews]

    def write(self) -> None:
        """Store it as it is now. Storage that is away costs no training."""
        self.content["written_at"] = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            self._storage.put(keys.report(self._job_id), plain_json.encode(self.content, indent=1))
        except Unavailable as error:
            log.warning("the report was not stored: %s", error)

    def keep(self, name: str, audio: NDArray[np.float32], rate: int, picture: bool = False) -> str:
        """Store a piece, `[channels, samples]` at `rate` Hz, as `name`.mp3, with its spectrogram; the file's name."""
        file = io.BytesIO()
        soundfile.write(file, np.clip(audio.T, -1, 1), rate, format="MP3")
        self._storage.put(keys.preview(self._job_id, f"{name}.mp3"), file.getvalue())
        if picture:
            self._storage.put(keys.preview(self._job_id, f"{name}.png"), spectrogram(audio, rate))
        return f"{name}.mp3"


def data_sense(dataset: Dataset, held_out: set[int], noise: Sequence[bool]) -> dict[str, Any]:
    """What is known of the music before a step is taken, and what is wrong with it.

    Args:
        held_out: indices of the songs that are set aside.
        noise: for each clip whether it is noise.
    """
    files = dataset.record["files"]
    used = sorted({clip.song for clip in dataset.clips})
    seconds = sum(clip.seconds for clip in dataset.clips if clip.song not in held_out)
    warnings = []
    for number, file in enumerate(files):
        about, length = file.get("analysis", {}), max(file["seconds"], 1e-9)
        warnings += [f"{file['source']}: {warning}" for warning in file.get("warnings", [])]
        clipped = about.get("clipped") or 0
        if clipped > _CLIPPED * length * file["sample_rate"]:
            warnings.append(
                f"{file['source']} is clipped ({clipped} samples at full scale): the twin will learn the distortion; "
                "send a version with headroom"
            )
        if (about.get("silent") or 0) > _SILENT * length:
            warnings.append(f"{file['source']} is silent for {about['silent']:.0f} of its {length:.0f} seconds")
        if number not in used and file.get("duplicate_of") is None:
            warnings.append(f"{file['source']} has nothing that can be learned from: it is too short or silent")
        if file.get("duplicate_of") is not None:
            warnings.append(
                f"{file['source']} is the same as {files[file['duplicate_of']]['source']}, and was left out"
            )
    if seconds < LEAST_SECONDS:
        warnings.append(f"{seconds:.0f} seconds are little to learn from; send some minutes")
    if sum(noise) > len(noise) / 2:
        warnings.append("most of it is noise without tones or rhythm")
    if len(used) < FEWEST:
        warnings.append(f"with fewer than {FEWEST} songs none is set aside, and what the twin learned stays unmeasured")
    return {
        "songs": len(used),
        "segments": len(dataset.clips),
        "seconds": round(sum(clip.seconds for clip in dataset.clips), 1),
        "trained_seconds": round(seconds, 1),
        "set_aside": [files[song]["source"] for song in sorted(held_out)],
        "warnings": warnings,
    }


def spectrogram(audio: NDArray[np.float32], rate: int) -> bytes:
    """A picture of `[channels, samples]`, low tones at the bottom, as PNG."""
    import librosa
    from matplotlib.image import imsave

    mono = audio.mean(axis=0)
    mel = librosa.feature.melspectrogram(
        y=mono, sr=rate, n_mels=_PICTURE[0], n_fft=2048, hop_length=max(512, len(mono) // _PICTURE[1])
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
