"""The file of a track that is sent while it is made: the limiter, and the encoders."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import numpy as np
import pytest
import soundfile

from contract import GenerateRequest, OutputFormat
from generation.delivery.plan import plan
from generation.delivery.true_peak import Samples, limiter_gain
from generation.provenance import Provenance
from generation.streaming.delivery import StreamedDelivery
from generation.streaming.encoder import Form, encoder
from generation.streaming.limiter import Limiter
from models.loudness import PEAK

RATE = 32_000
PROVENANCE = Provenance("musicgen", "starter/ü", seed=7, made_at=datetime(2026, 7, 1, tzinfo=UTC))


def music(seconds: float, level: float, channels: int = 1, rate: int = RATE) -> Samples:
    noise = np.random.default_rng(3).normal(0, level, (round(seconds * rate), channels))
    return noise.astype(np.float32)


def limited(samples: Samples, piece: int) -> Samples:
    limiter = Limiter(RATE)
    pieces = [limiter.add(samples[start : start + piece]) for start in range(0, len(samples), piece)]
    return np.concatenate([*pieces, limiter.add(samples[:0], is_last=True)])


@pytest.mark.parametrize("piece", [1_000, 32_000, 100_000])
def test_the_limiter_is_that_of_the_whole(piece: int) -> None:
    """As loud noise, which it always works on, and as single peaks, which it works on now and then."""
    loud, quiet = music(2.5, 0.5), music(2.5, 0.05)
    quiet[[20, 31_990, 32_010, 70_000, -1]] = [[1.5], [-2.0], [3.0], [0.95], [1.2]]
    for samples in (loud, quiet):
        gain = limiter_gain(np.abs(samples).max(axis=1), PEAK, RATE)
        made = limited(samples, piece)
        assert made.shape == samples.shape and made.dtype == np.float32
        assert np.abs(made).max() <= np.float32(PEAK)
        assert np.abs(made - samples * gain[:, None]).max() < 1e-5


def test_the_limiter_leaves_music_below_the_peak_as_it_is() -> None:
    samples = np.clip(music(2, 0.3), -PEAK, PEAK).astype(np.float32)
    assert np.array_equal(limited(samples, 32_000), samples)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("output_format", "sample_format", "bits"),
    [("wav", "int16", 16), ("wav", "int24", 24), ("wav", "float32", 32), ("flac", "int16", 16), ("flac", "int24", 24)],
)
def test_a_lossless_file_is_written_in_one_go(
    output_format: OutputFormat, sample_format: str, bits: int, channels: int
) -> None:
    samples = music(1.30003125, 0.1, channels)  # an odd number of frames
    samples = (np.rint(samples * 2 ** (bits - 1)) / 2 ** (bits - 1)).astype(np.float32) if bits < 32 else samples
    form = Form(output_format, RATE, channels, sample_format, len(samples), PROVENANCE.tags(output_format))  # type: ignore[arg-type]
    writer = encoder(form)
    written = [writer.write(samples[start : start + 9_000]) for start in range(0, len(samples), 9_000)]
    assert all(written)
    file = b"".join([*written, writer.close()])
    with soundfile.SoundFile(io.BytesIO(file)) as opened:
        assert (opened.frames, opened.samplerate, opened.channels) == (len(samples), RATE, channels)
        assert (opened.comment, opened.genre) == (PROVENANCE.comment(), "AI-generated")
        assert np.array_equal(opened.read(dtype="float32", always_2d=True), samples)
    if output_format == "wav":
        assert int.from_bytes(file[4:8], "little") == len(file) - 8


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("output_format", ["mp3", "opus"])
def test_a_lossy_file_is_as_long_as_its_samples(output_format: OutputFormat, channels: int) -> None:
    rate = 48_000
    samples = music(3.3, 0.1, channels, rate)
    writer = encoder(Form(output_format, rate, channels, "int16", len(samples), PROVENANCE.tags(output_format)))
    written = [writer.write(samples[start : start + rate]) for start in range(0, len(samples), rate)]
    assert all(written)
    with soundfile.SoundFile(io.BytesIO(b"".join([*written, writer.close()]))) as opened:
        assert len(opened.read()) / rate == pytest.approx(3.3, abs=0.05)
        assert (opened.comment, opened.genre) == (PROVENANCE.comment(), "AI-generated")


def test_a_track_that_is_not_whole_has_no_end() -> None:
    request = GenerateRequest(prompt="x", output_format="flac", stream=True)
    delivery = StreamedDelivery(plan(request, None, 600, "", None), PROVENANCE, RATE, 1, 3 * RATE)
    assert delivery.add(music(2.9, 0.1).tobytes())
    with pytest.raises(EOFError):
        delivery.close()
