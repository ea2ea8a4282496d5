"""Time and memory of preprocessing, against pydub with ffmpeg. Each task runs in a child process."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

RATE = 44_100


def ours(path: Path, folder: Path) -> int:
    from preprocessing.segment import CONTRACT_RATE, segments, write_wav

    made = 0
    for segment in segments(path):
        if segment.samples is not None:
            write_wav(folder / f"seg_{made:04d}.wav", segment.samples, CONTRACT_RATE)
            made += 1
    return made


def with_pydub(path: Path, folder: Path) -> int:
    from pydub import AudioSegment, effects

    song = AudioSegment.from_file(path).set_frame_rate(RATE).set_channels(1).set_sample_width(2)
    made = 0
    for start in range(0, len(song), 15_000):
        piece = song[start : start + 15_000]
        if len(piece) >= 1000 and piece.max_dBFS >= -60:
            effects.normalize(piece, headroom=1.0).export(folder / f"seg_{made:04d}.wav", format="wav")
            made += 1
    return made


def whole_job(path: Path, folder: Path) -> int:
    """`prepare` on a stored file: fetch, analyse, cut, caption, write."""
    from contract import TrainRequest
    from core.settings import Settings
    from preprocessing.dataset import prepare
    from storage import open_storage

    store = open_storage((folder / "store").as_uri())
    store.put_file("uploads/p/u/song", path)
    request = TrainRequest(producer_id="p", upload_paths=["/data/uploads/p/u/song"])
    made = prepare(request, "j", store, folder / "work", Settings(), native_rate=48_000, native_channels=2)
    return len(made.clips)


CHILDREN: dict[str, Callable[[Path, Path], int]] = {"ours": ours, "pydub": with_pydub, "job": whole_job}


def child(name: str, path: Path) -> None:
    import av  # noqa: F401 - imported before timing starts
    import soxr  # noqa: F401

    import preprocessing.dataset  # noqa: F401

    if name == "pydub":
        import pydub  # noqa: F401
    idle, start = _used(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        pieces = CHILDREN[name](path, Path(folder))
        seconds = time.perf_counter() - start
    now = _used()
    print(
        json.dumps({"pieces": pieces, "wall": seconds, "cpu": now[0] - idle[0], "idle_mb": idle[1], "peak_mb": now[1]})
    )


def _used() -> tuple[float, float]:
    """CPU seconds of this process and its children, and the peak memory of this process in MiB."""
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime, own.ru_maxrss / 1024


def _run(name: str, path: Path) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.preprocessing", "child", name, str(path)]
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def _song(folder: Path, hours: float) -> Iterator[Path]:
    """A minute of the synthesiser, repeated with another shift and level each time: as WAV, then as MP3."""
    from recipes.synthesiser import render, sample_song

    minute = render(sample_song(np.random.default_rng(3), "house"), 60, RATE, 2).T
    plain, packed = folder / "song.wav", folder / "song.mp3"
    with soundfile.SoundFile(plain, "w", RATE, 2) as file:
        for number in range(round(hours * 60)):
            file.write(np.roll(minute, 1000 * number, axis=0) * (0.5 + 0.05 * (7 * number % 10)))
    yield plain
    subprocess.run(["ffmpeg", "-v", "error", "-i", plain, "-b:a", "192k", packed], check=True)
    plain.unlink()
    yield packed


def speed(hours: float, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for path in _song(Path(folder), hours):
            taken: dict[str, list[dict[str, float]]] = {"ours": [], "pydub": []}
            for _ in range(rounds):
                for name, runs in taken.items():
                    runs.append(_run(name, path))
            print(f"{hours:g} h of {path.suffix[1:]}, {rounds} rounds in turns, medians:")
            for name, runs in taken.items():
                wall, cpu, peak = (statistics.median(run[key] for run in runs) for key in ("wall", "cpu", "peak_mb"))
                print(f"  {name:6} {wall:6.2f} s, {cpu:6.2f} s of CPU, {peak:5.0f} MiB, {runs[0]['pieces']:g} segments")
            for key in ("wall", "cpu"):
                ratios = [b[key] / a[key] for a, b in zip(taken["ours"], taken["pydub"])]
                print(f"  {key}: {statistics.median(ratios):.2f} times as fast (rounds: {min(ratios):.2f} at least)")


def memory(hours: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for path in _song(Path(folder), hours):
            used = _run("job", path)
            above = used["peak_mb"] - used["idle_mb"]
            print(
                f"{hours:g} h of {path.suffix[1:]}: {above:.0f} MiB above {used['idle_mb']:.0f} idle; "
                f"{used['wall']:.0f} s, {used['cpu']:.0f} s of CPU for the whole job, analysis included"
            )
