"""Loudness and true peak as FFmpeg's `ebur128` filter measures them."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

_BLOCK_FRAMES = 4_800


class Measured(NamedTuple):
    """The integrated loudness in LUFS, and the true peak in dBTP."""

    loudness: float
    true_peak: float


def measure(samples: NDArray[np.float32], rate: int) -> Measured:
    """Measure (frames, channels)."""
    layout = "stereo" if samples.shape[1] == 2 else "mono"
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=rate, format="flt", layout=layout, time_base=Fraction(1, rate))
    meter, sink = graph.add("ebur128", "peak=true:metadata=1"), graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    seen: list[Measured] = []

    def read() -> None:
        with contextlib.suppress(av.BlockingIOError, av.EOFError):
            while True:
                metadata = sink.pull().metadata  # type: ignore[union-attr]
                if "lavfi.r128.I" not in metadata:  # the last frame, where it is short
                    continue
                channels = range(samples.shape[1])
                peak = max(float(metadata.get(f"lavfi.r128.true_peaks_ch{each}", "0")) for each in channels)
                seen.append(Measured(float(metadata["lavfi.r128.I"]), 20 * np.log10(max(peak, 1e-12))))

    for start in range(0, len(samples), _BLOCK_FRAMES):
        block = np.ascontiguousarray(samples[start : start + _BLOCK_FRAMES], np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="flt", layout=layout)
        frame.sample_rate, frame.pts = rate, start
        source.push(frame)
        read()
    source.push(None)
    read()
    return seen[-1]
