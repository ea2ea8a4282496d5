"""The template of training processes: it has imported what a job needs, which takes a new process ten seconds.

It imports only. It starts no thread and opens no device, so it holds no device memory.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from functools import cache

import torch

from core.processes import set_name
from core.settings import ROOT, settings
from preprocessing.isolation import ANALYSIS, DECODING
from runners import TABLE
from training import run
from training.evaluation import page
from training.evaluation.report import spectrogram
from training.jobs.fork import PROCESS_NAME
from training.jobs.launch import command

_MAX_MESSAGE_BYTES = 4096
_RATE = 22_050  # Hz


def load() -> None:
    """Import what jobs import, and start the templates that read their files."""
    import librosa
    import numpy as np

    silence = np.zeros((1, _RATE), np.float32)
    # These import their parts on first use.
    librosa.feature.mfcc(y=silence[0], sr=_RATE)
    spectrogram(silence, _RATE)
    page.template()
    DECODING.start()
    ANALYSIS.start()
    for backend in TABLE.enabled(settings()).values():
        backend.load_model_class()
        backend.load_trainer_class()
    _count_gpus()


@cache
def _count_gpus() -> int:
    """The GPUs that the template finds. A child may not ask: where NVML cannot be loaded it would find none."""
    return torch.cuda.device_count()


def serve(client: socket.socket) -> int:
    """Run the attempt that the client names, in a child of the template."""
    message = client.recv(_MAX_MESSAGE_BYTES)
    client.close()
    if not message:
        return 1
    job_id, attempt = json.loads(message)
    os.chdir(ROOT)
    if _count_gpus() and torch.cuda._is_in_bad_fork():
        # Where NVML cannot be loaded, libraries have asked CUDA itself, which is then of no use in this process.
        os.execv(sys.executable, command(job_id, attempt))  # nosec B606
    set_name(PROCESS_NAME)
    return run.run_attempt(job_id, attempt)
