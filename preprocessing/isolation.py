"""Sandboxes for clients' audio files: child processes with limits on memory, CPU time and wall time."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import Refusal
from core.sandbox import Exceeded, Limits, Sandbox
from preprocessing.containers.base import BadAudio

# Reads a file's header and decodes both ends: milliseconds, whatever its length.
CHECK = Limits(memory=512 * 2**20, cpu_seconds=5, seconds=20, niceness=5)
# Reads a file's tags, whose pictures may take megabytes.
READ_TAGS = Limits(memory=512 * 2**20, cpu_seconds=5, seconds=20, niceness=5)
# Decodes a whole recording, of at most ten minutes, and resamples it.
CONVERT = Limits(memory=2**30, cpu_seconds=60, seconds=180, niceness=5)
# Analyses a song while the client waits for the answer.
ANALYSE = Limits(memory=2**30, cpu_seconds=30, seconds=120, niceness=10)
# Analyses a recording of hours.
ANALYSE_LONG = Limits(memory=2**30, cpu_seconds=300, seconds=900, niceness=15)
# Analyses or cuts a song for a training job: what four hours at 384 kHz take on a slow machine.
PREPARE = Limits(memory=2 * 2**30, cpu_seconds=3600, seconds=7200, niceness=5)

SONG_SECONDS = 600.0  # a longer file is a recording

_WARM_UP_SECONDS = 8


@contextmanager
def refusing(name: str) -> Iterator[None]:
    """Turn BadAudio and exceeded limits into a Refusal (400) that begins with `name`."""
    try:
        yield
    except (BadAudio, Exceeded) as reason:
        raise Refusal(400, f"{name}: {reason}") from reason


def load_decoders() -> None:
    """Import what children call, since each of them would import it again."""
    import av  # noqa: F401
    import soundfile  # noqa: F401

    import preprocessing.decode
    import preprocessing.embedded_tags
    import preprocessing.recording  # noqa: F401


def load_analysis() -> None:
    """Import what children call, and run the analysis: librosa compiles code on first use, for half a minute."""
    import numpy as np

    import preprocessing.analysis_record
    import preprocessing.memorised
    import preprocessing.songs  # noqa: F401
    from preprocessing import segment
    from preprocessing.analysis import analyse

    load_decoders()
    clicks = np.zeros((segment.CONTRACT_RATE * _WARM_UP_SECONDS, 1), np.float32)
    clicks[:: segment.CONTRACT_RATE // 2] = 0.5
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clicks.wav"
        segment.write_wav(path, clicks, segment.CONTRACT_RATE)
        with _only_process_that_compiles():
            analyse(path)


@contextmanager
def _only_process_that_compiles() -> Iterator[None]:
    """Have other processes wait: what two processes write to Numba's cache at once makes later ones crash."""
    import librosa

    with open(librosa.__file__) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


DECODING = Sandbox("preprocessing.isolation:load_decoders")
ANALYSIS = Sandbox("preprocessing.isolation:load_analysis")
