"""The delivery of many tracks, by FFmpeg's meter: loudness off the target, true peak over the limit, joins of loops.

    python -m benchmarks.delivery [--tracks 200] [--seconds 10]

Tracks are songs of the synthesiser, and every tenth is noise, quiet noise, or noise with a click, in turn; formats and
targets change from track to track.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import product

import numpy as np

from benchmarks.ebur128 import measure
from contract import GenerateRequest, OutputFormat
from generation.delivery.loop import Loop, spectral_jump
from generation.delivery.plan import plan
from generation.delivery.true_peak import Samples
from generation.encode import decoded
from generation.provenance import Provenance
from recipes.synthesiser import Song, render, sample_song
from runners.messages import TrackAnswer

RATE = 48_000
FORMATS: tuple[OutputFormat, ...] = ("wav", "flac", "mp3", "opus", "m4a")
TARGETS = (-23.0, -14.0, -9.0)
LOOP_BARS = 8


def join_of(song: Song) -> float:
    """The spectral jump where a loop that is cut from a song starts again.

    It is divided by the median of those at the loop's other bar lines, where music changes too.
    """
    loop = Loop(LOOP_BARS, round(song.bpm), str(song.beats_per_bar))
    cut = loop.cut(np.ascontiguousarray(render(song, seconds=loop.made_seconds + 1).T, np.float32), RATE)
    twice = np.concatenate([cut, cut])
    others = [spectral_jump(twice, round(number * len(cut) / loop.bars)) for number in range(1, loop.bars)]
    return spectral_jump(twice, len(cut)) / float(np.median(others))


def sounds(tracks: int, seconds: float) -> Iterator[Samples]:
    for number in range(tracks):
        random = np.random.default_rng(number)
        noise = random.normal(0, 0.1, (round(seconds * RATE), 2)).astype(np.float32)
        match number % 30:
            case 9:
                yield noise
            case 19:
                yield noise * np.float32(1e-4)
            case 29:
                noise[len(noise) // 2] = 0.99
                yield noise
            case _:
                yield np.ascontiguousarray(render(sample_song(random), seconds=seconds).T, np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    kinds = list(product(TARGETS, FORMATS))
    off, peaks = [], []
    for number, samples in enumerate(sounds(options.tracks, options.seconds)):
        target, output_format = kinds[number % len(kinds)]
        request = GenerateRequest(prompt="x", loudness=target, output_format=output_format, seed=number)
        answer = TrackAnswer(
            pcm=samples.tobytes(), sample_format="float32", sample_rate=RATE, channels=samples.shape[1]
        )
        made = plan(request, None, 600, "", None).deliver(answer, Provenance("", "", number))
        found = measure(decoded(made.file, output_format), made.sample_rate)
        off.append(abs(found.loudness - target))
        peaks.append(found.true_peak)
        print(f"{number} {output_format} {target:g}: {found.loudness:.2f} LUFS, {found.true_peak:.2f} dBTP", flush=True)
    print(f"loudness off the target: median {np.median(off):.3f}, largest {max(off):.3f} LU")
    print(f"true peak: largest {max(peaks):.2f} dBTP, over -1 dBTP: {sum(peak > -1 for peak in peaks)}")
    jumps = np.array([join_of(sample_song(np.random.default_rng(number))) for number in range(options.tracks)])
    print(f"jump at the join of a loop: median {np.median(jumps):.2f}, largest {jumps.max():.2f}, ", end="")
    print(f"over 1.5: {(jumps > 1.5).sum()} of {len(jumps)}")


if __name__ == "__main__":
    main()
