"""Sounds and datasets for the tests of preprocessing."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np

from contract import State, TrainRequest
from core.settings import Settings
from models.traits import DEFAULT_TRAITS, Traits
from preprocessing.dataset import Dataset, prepare
from preprocessing.levels import LevelMeter, Levels
from storage import Storage
from tests.sounds import RATE, chord, written


def tone(seconds: float, rate: int = RATE, channels: int = 2, level: float = 0.25) -> np.ndarray:
    """`tests.sounds.chord` in single precision."""
    return chord(seconds, rate, channels, level).astype(np.float32)


def with_nan() -> bytes:
    samples = tone(3)
    samples[7, 1] = np.nan
    return written(samples, subtype="FLOAT")


def peak_decibels(samples: np.ndarray) -> float:
    """The peak of 16-bit samples in dBFS."""
    return float(20 * np.log10(np.abs(samples / 32768).max()))


def make(
    store: Storage,
    workdir: Path,
    job: str = "j",
    states: list[State] | None = None,
    tagger: Literal["local", "none"] | None = "none",
    traits: Traits = DEFAULT_TRAITS,
    **body: Any,
) -> Dataset:
    """Run `prepare` for producer p as training does; `states` collects the states that it reports."""
    request = TrainRequest.model_validate({"producer_id": "p"} | body)
    return prepare(
        request,
        job,
        store,
        workdir / job,
        Settings(tagger=tagger),
        native_rate=48_000,
        native_channels=2,
        traits=traits,
        report=(states if states is not None else []).append,
    )


def digests(store: Storage, prefix: str) -> dict[str, str]:
    return {entry.key: hashlib.sha256(store.get(entry.key)).hexdigest() for entry in store.list(prefix)}


def levels(samples: np.ndarray, rate: int = RATE, block: int = 4096) -> Levels:
    samples = samples.astype(np.float32)
    meter = LevelMeter(rate, samples.shape[1])
    for start in range(0, len(samples), block):
        meter.add(samples[start : start + block])
    return meter.levels()


def sine(seconds: float, hertz: float = 997.0, level: float = 1.0, rate: int = RATE) -> np.ndarray:
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)[:, None]
