"""Where files that strangers sent are decoded: in child processes, each with limits."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import Refusal
from core.sandbox import Exceeded, Limits, Sandbox
from preprocessing.containers.base import BadAudio

# Looks at a file's header and its ends: milliseconds, whatever its length.
CHECK = Limits(memory=512 * 2**20, cpu_seconds=5, seconds=20, niceness=5)
# Listens to a song while its producer waits.
LISTEN = Limits(memory=2**30, cpu_seconds=30, seconds=120, niceness=10)
# Listens to a recording of hours.
LISTEN_LONG = Limits(memory=2**30, cpu_seconds=300, seconds=900, niceness=15)
# Listens to a song, or cuts it, for a training job: four hours at 384 kHz take that long on a slow machine.
PREPARE = Limits(memory=2 * 2**30, cpu_seconds=3600, seconds=7200)

SONG_SECONDS = 600.0  # what is longer is a recording

_WARM_SECONDS = 8


@contextmanager
def refusing(name: str) -> Iterator[None]:
    """Raises Refusal (400), which begins with `name`, for what is no audio, and for a call that exceeded its limits."""
    try:
        yield
    except (BadAudio, Exceeded) as reason:
        raise Refusal(400, f"{name}: {reason}") from reason


def load_decoders() -> None:
    import av  # noqa: F401
    import soundfile  # noqa: F401

    import preprocessing.decode  # noqa: F401


def load_analysis() -> None:
    """Also compiles what librosa has compiled at its first use, which takes seconds."""
    import numpy as np

    from preprocessing import segment
    from preprocessing.analysis import analyse

    load_decoders()
    clicks = np.zeros((segment.CONTRACT_RATE * _WARM_SECONDS, 1), np.float32)
    clicks[:: segment.CONTRACT_RATE // 2] = 0.5
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clicks.wav"
        segment.write_wav(path, clicks, segment.CONTRACT_RATE)
        analyse(path)


DECODING = Sandbox("preprocessing.isolation:load_decoders")
ANALYSIS = Sandbox("preprocessing.isolation:load_analysis")
