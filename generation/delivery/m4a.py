"""M4A files: AAC in MP4, written by FFmpeg, since libsndfile has no AAC."""

from __future__ import annotations

import io
from collections.abc import Mapping

import av
import numpy as np

from generation.delivery.true_peak import Samples

RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
BIT_RATE_PER_CHANNEL = 128_000
_BLOCK_FRAMES = 65_536


def encode(samples: Samples, rate: int, tags: Mapping[str, str]) -> bytes:
    """Encode (frames, channels), with the index in front of the audio, so that players can start and seek at once.

    Args:
        tags: by FFmpeg's names.
    """
    buffer = io.BytesIO()
    layout = "stereo" if samples.shape[1] == 2 else "mono"
    options = {"movflags": "+faststart", "movie_timescale": str(rate)}
    # To move the index to the front, FFmpeg reads the file again while it writes it.
    with av.open(buffer, "w", "ipod", options=options, io_open=lambda *_: io.BytesIO(buffer.getvalue())) as container:
        container.metadata.update(tags)
        stream = container.add_stream("aac", rate=rate, layout=layout)
        # AAC takes at most 6144 bits a channel for a frame of 1024 samples.
        stream.bit_rate = min(BIT_RATE_PER_CHANNEL, 5 * rate) * samples.shape[1]
        for start in range(0, len(samples), _BLOCK_FRAMES):
            block = np.ascontiguousarray(samples[start : start + _BLOCK_FRAMES].T)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def decode(file: bytes) -> Samples:
    """The samples of a file that `encode` made, and up to 1023 frames of padding behind them."""
    with av.open(io.BytesIO(file), "r", "mov") as container:
        blocks = [frame.to_ndarray() for frame in container.decode(audio=0)]
    return np.ascontiguousarray(np.concatenate(blocks, axis=1).T)
