"""Preprocessing: speed against pydub with ffmpeg, memory, accuracy of tempo and key, and damaged files.

    python -m benchmarks.preprocessing speed      one hour of WAV and of MP3, alternating with pydub and ffmpeg
    python -m benchmarks.preprocessing memory     peak memory for a file of three hours
    python -m benchmarks.preprocessing analysis   tempo and key of 40 fixed songs of the synthesiser (or of others)
    python -m benchmarks.preprocessing fit        fit the weights of the analysis to 160 other songs
    python -m benchmarks.preprocessing fuzz       1,000 damaged files, none of which may crash or hang it

`speed` and `memory` need ffmpeg, `speed` also pydub: `apt-get install ffmpeg`, `pip install pydub`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

Array = NDArray[np.float64]

RATE = 44_100
TEST_SONGS, TRAINING_SONGS = range(40), range(100_000, 100_160)
EXCERPT_SECONDS = 15.0
RIDGE = 0.003


# Child processes: each runs one task, and prints its time and memory.


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


# The analysis.


def _render(seed: int) -> tuple[Any, NDArray[np.float32]]:
    """60 s of song `seed`, (frames, 2): genres in turn, eight songs with drums, eight without, and so on."""
    from recipes.synthesiser import GENRES, render, sample_song

    song = sample_song(np.random.default_rng(seed), GENRES[seed % 8], drums=seed // 8 % 2 == 0)
    return song, render(song, 60, RATE, 2).T


def _measure(seed: int) -> dict[str, Any]:
    from preprocessing.analysis import analyse

    song, samples = _render(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "song.flac"
        soundfile.write(path, samples, RATE)
        found = analyse(path).record()
    folds = [factor for factor in (1, 2, 0.5, 3, 1 / 3) if abs((found["bpm"] or 0) / (song.bpm * factor) - 1) <= 0.04]
    return found | {"song": song, "fold": folds[0] if folds else None, "right_key": found["key"] == song.key}


def analysis(first: int, songs: int) -> None:
    with _pool() as pool:
        found = list(pool.map(_measure, range(first, first + songs)))
    for one in found:
        song = one["song"]
        print(
            f"{song.genre:14} {'drums' if song.drums else '-':6} {song.bpm:4} {one['bpm'] or 0:7.2f} "
            f"({one['bpm_confidence'] or 0:.2f})  {song.key:9} {one['key']:9} ({one['key_confidence']:.2f})"
        )
    right = np.array([one["fold"] == 1 for one in found])
    octaves = np.array([one["fold"] in (2, 0.5, 3, 1 / 3) for one in found])
    keys = np.array([one["right_key"] for one in found])
    sure = np.array([[one["bpm_confidence"] or 0, one["key_confidence"] or 0] for one in found])
    print(f"bpm within 4 %: {right.mean():.1%}; a double, half or triple of it: {octaves.mean():.1%}")
    print(f"key exactly right: {keys.mean():.1%}")
    print(f"confidence, AUC: bpm {_auc(right, sure[:, 0]):.3f} ({np.count_nonzero(~right)} wrong), ", end="")
    print(f"key {_auc(keys, sure[:, 1]):.3f} ({np.count_nonzero(~keys)} wrong), ", end="")
    print(f"both {_auc(np.concatenate([right, keys]), np.concatenate([sure[:, 0], sure[:, 1]])):.3f}")


def _auc(right: NDArray[np.bool_], confidence: Array) -> float:
    """The area under the ROC curve of the confidence; NaN if all answers are right, or all wrong."""
    if right.all() or not right.any():
        return float("nan")
    yes, no = confidence[right][:, None], confidence[~right]
    return float((yes > no).mean() + (yes == no).mean() / 2)


Case = tuple[Array, NDArray[np.bool_]]  # the evidence of each alternative, and which alternatives are right


def _cases(seed: int) -> list[tuple[Case, Case]]:
    """The tempo and key cases of a song: of the whole song, and of an excerpt of 15 s."""
    import soxr

    from preprocessing import features, musical_key, tempo

    song, samples = _render(seed)
    mono = soxr.resample(samples.mean(axis=1), RATE, features.RATE)
    start = 15 + (seed * 1.37) % 20
    cases = []
    for part in (mono, mono[round(start * features.RATE) :][: round(EXCERPT_SECONDS * features.RATE)]):
        found = features.extract(part)
        tempos, evidence = tempo.evidence(tempo.enhance(found.onset_envelopes))
        keys = np.array([key == song.key for key in musical_key.KEYS])
        cases.append(((evidence, np.abs(tempos / song.bpm - 1) <= 0.04), (musical_key.evidence(found), keys)))
    return cases


def fit() -> None:
    with _pool() as pool:
        cases = [case for cases in pool.map(_cases, TRAINING_SONGS) for case in cases]
    for name, index in (("tempo", 0), ("musical_key", 1)):
        weights = _logit([case[index] for case in cases])
        chosen = [(right[(evidence @ weights).argmax()]) for evidence, right in (case[index] for case in cases)]
        print(f"{name}.WEIGHTS = {np.round(weights, 2).tolist()}")
        print(f"  right: {np.mean(chosen[::2]):.1%} of the songs, {np.mean(chosen[1::2]):.1%} of the excerpts")


def _logit(cases: list[Case]) -> Array:
    """Maximum-likelihood weights of a conditional logit, with a ridge penalty."""
    from scipy.optimize import minimize
    from scipy.special import softmax

    cases = [case for case in cases if case[1].any()]
    scale = np.concatenate([evidence for evidence, _ in cases]).std(axis=0)

    def loss(weights: Array) -> tuple[float, Array]:
        total, slope = 0.0, np.zeros(len(weights))
        for evidence, right in cases:
            scaled = evidence / scale
            among_all = softmax(scaled @ weights)
            total -= np.log(among_all[right].sum())
            slope += among_all @ scaled - among_all[right] / among_all[right].sum() @ scaled[right]
        return float(total / len(cases) + RIDGE * weights @ weights), slope / len(cases) + 2 * RIDGE * weights

    return np.asarray(minimize(loss, np.zeros(len(scale)), jac=True).x / scale)


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(min(2, os.cpu_count() or 1), mp_context=get_context("spawn"))


# Damaged files.


def _damaged(count: int, seed: int) -> Iterator[bytes]:
    """Noise after each format's magic bytes, valid files with some bytes changed, and truncated valid files."""
    import io
    import random

    source = random.Random(seed)
    rate = 16_000
    sound = 0.3 * np.sin(np.outer(np.arange(round(3.5 * rate)), [0.05, 0.07]))
    good = []
    for kind in ({"format": "WAV"}, {"format": "FLAC"}, {"format": "OGG"}, {"format": "MP3"}, {"format": "AIFF"}):
        file = io.BytesIO()
        soundfile.write(file, sound, rate, **kind)
        good.append(file.getvalue())
    heads = [
        b"RIFF\xff\xff\xff\x7fWAVEfmt ",
        b"fLaC",
        b"OggS",
        b"\xff\xfb\x90",
        b"\xff\xf1",
        b"\0\0\0\x1cftypM4A ",
        b"",
    ]
    for number in range(count):
        whole = source.choice(good)
        if number % 3 == 0:
            yield source.choice(heads) + source.randbytes(source.randrange(1, 5000))
        elif number % 3 == 1:
            changed = bytearray(whole)
            reach = len(changed) if source.random() < 0.5 else 200  # headers are the most sensitive
            for _ in range(source.randrange(1, 20)):
                changed[source.randrange(reach)] = source.randrange(256)
            yield bytes(changed)
        else:
            yield whole[: source.randrange(len(whole))]


def fuzz(count: int, seed: int) -> None:
    from contract import TrainRequest
    from core.errors import Refusal
    from core.settings import Settings
    from preprocessing.dataset import prepare
    from preprocessing.decode import BadAudio, check_bytes
    from storage import open_storage

    refused = made = 0
    slowest = 0.0
    for data in _damaged(count, seed):
        with suppress(BadAudio):
            check_bytes(data)
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            store = open_storage((Path(folder) / "store").as_uri())
            store.put("uploads/p/u/a.wav", data)
            request = TrainRequest(producer_id="p", upload_paths=["/data/uploads/p/u/a.wav"])
            try:
                prepare(request, "j", store, Path(folder) / "work", Settings(), native_rate=48_000, native_channels=2)
                made += 1
            except Refusal as error:
                refused += 1
                if error.status != 400 or not error.message.startswith("upload_paths"):
                    raise SystemExit(f"refused wrongly: {error.status} {error.message}") from error
                left = [entry.key for entry in store.list("")]
                if left != ["uploads/p/u/a.wav"]:
                    raise SystemExit(f"refused, but left {left}") from error
        slowest = max(slowest, time.perf_counter() - start)
    print(f"{count} damaged files: {refused} refused by name, {made} usable; the slowest took {slowest:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    def command(name: str, run: Callable[..., None], **options: Any) -> None:
        one = commands.add_parser(name)
        for option, default in options.items():
            one.add_argument(f"--{option}", type=type(default), default=default)
        one.set_defaults(run=lambda given: run(**{option: getattr(given, option) for option in options}))

    command("speed", speed, hours=1.0, rounds=3)
    command("memory", memory, hours=3.0)
    command("analysis", analysis, first=TEST_SONGS[0], songs=len(TEST_SONGS))
    command("fit", fit)
    command("fuzz", fuzz, count=1000, seed=1)
    one = commands.add_parser("child")
    one.add_argument("name", choices=CHILDREN)
    one.add_argument("path", type=Path)
    one.set_defaults(run=lambda given: child(given.name, given.path))
    given = parser.parse_args()
    given.run(given)


if __name__ == "__main__":
    main()
