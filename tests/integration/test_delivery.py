"""Delivery over HTTP: formats and bit depths, loudness, loops, and the requests that are refused."""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from benchmarks.ebur128 import measure
from preprocessing.embedded_tags import parse_tags, read_tags
from tests.api import ACE_STEP_ONLY, Api, Json, error_of, running
from tests.sounds import chord, written

RATE = 48_000


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, str]) -> Iterator[Api]:
    environment = tiny | ACE_STEP_ONLY | {"MAX_DURATION_SECONDS": "12"}
    with running(tmp_path_factory.mktemp("delivery"), environment, ("ace_step",)) as api:
        yield api


@pytest.fixture(scope="module")
def sources(service: Api) -> dict[str, str]:
    """An upload of each sample format."""
    sound = chord(2.0, 44_100)
    return {
        subtype: service.upload("ada", written(sound, 44_100, subtype=subtype), filename=f"{subtype}.wav")
        for subtype in ("PCM_16", "PCM_24", "FLOAT")
    }


def made(service: Api, **body: Any) -> tuple[Json, bytes]:
    answer = service.post("/generate", **({"prompt": "dark trap", "duration_seconds": 2, "seed": 7} | body))
    file = base64.b64decode(answer["audio_base64"])
    assert service.file(answer["output_path"]).read_bytes() == file
    return answer, file


def read(file: bytes) -> tuple[Any, soundfile.SoundFile]:
    sound = soundfile.SoundFile(io.BytesIO(file))
    return sound.read(dtype="float32", always_2d=True), sound


@pytest.mark.parametrize(
    ("output_format", "bit_depth", "subtype"),
    [
        ("wav", None, "PCM_16"),
        ("wav", 16, "PCM_16"),
        ("wav", 24, "PCM_24"),
        ("wav", "32f", "FLOAT"),
        ("flac", "16", "PCM_16"),
        ("flac", 24, "PCM_24"),
    ],
)
def test_a_file_has_the_bits_that_were_asked_for(
    service: Api, output_format: str, bit_depth: Any, subtype: str
) -> None:
    exact, _ = read(made(service, bit_depth="32f")[1])
    answer, file = made(service, output_format=output_format, bit_depth=bit_depth)
    samples, sound = read(file)
    assert (sound.format, sound.subtype) == (output_format.upper(), subtype)
    assert answer["output_path"].endswith(f".{output_format}") and len(samples) == 2 * RATE
    step = {"PCM_16": 2**-15, "PCM_24": 2**-23}.get(subtype, 0)
    error = samples - exact
    assert np.abs(error).max() <= 1.5 * step + 2**-24
    if step == 2**-15:  # TPDF dither and rounding
        assert error.std() == pytest.approx(step / 2, rel=0.05)
    # The same request gives the same file, but for its date.
    assert np.array_equal(read(made(service, output_format=output_format, bit_depth=bit_depth)[1])[0], samples)


def test_m4a(service: Api, tmp_path: Path) -> None:
    answer, file = made(service, output_format="m4a", bpm=120)
    assert answer["output_path"].endswith(".m4a") and answer["duration_seconds"] == 2
    with av.open(io.BytesIO(file), "r") as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        assert container.metadata["comment"].startswith("AI-generated; backend=ace_step")
        decoded = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1).T
    assert 0 <= len(decoded) - 2 * RATE < 1024
    # The tiny model makes noise, of which AAC keeps the shape.
    exact, _ = read(made(service, bit_depth="32f", bpm=120)[1])
    assert np.corrcoef(decoded[: len(exact)].ravel(), exact.ravel())[0, 1] > 0.9
    (tmp_path / "a.m4a").write_bytes(file)
    assert parse_tags(read_tags(tmp_path / "a.m4a", "m4a")).bpm == 120


def test_an_m4a_is_served_with_ranges_and_can_be_edited(service: Api) -> None:
    link = service.post("/generate", prompt="x", duration_seconds=2, output_format="m4a", response="url")
    whole = service.client.get(link["url"])
    assert whole.headers["content-type"] == "audio/mp4"
    part = service.client.get(link["url"], headers={"range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp") and whole.content[4:8] == b"ftyp"
    assert whole.content.find(b"moov") < whole.content.find(b"mdat")
    longer = service.post("/generate", prompt="x", task="extend", source=link["output_path"], after=1)
    assert longer["duration_seconds"] == pytest.approx(3, abs=0.03)


def test_m4a_by_accept_and_by_conversion(service: Api) -> None:
    answer = service.client.post(
        "/generate", json={"prompt": "x", "duration_seconds": 1}, headers={"accept": "audio/mp4"}
    )
    assert answer.headers["content-type"] == "audio/mp4" and answer.headers["x-output-path"].endswith(".m4a")
    path = made(service, bit_depth="32f")[0]["output_path"]
    converted = service.client.get(path, params={"format": "m4a"})
    assert converted.headers["content-type"] == "audio/mp4" and converted.content[4:8] == b"ftyp"
    flac = service.client.get(path, params={"format": "flac"})
    assert soundfile.info(io.BytesIO(flac.content)).subtype == "PCM_24"


@pytest.mark.parametrize("output_format", ["wav", "mp3"])
def test_loudness(service: Api, output_format: str) -> None:
    _, file = made(service, output_format=output_format, loudness=-28, duration_seconds=4)
    samples, sound = read(file)
    found = measure(samples, sound.samplerate)
    # The tiny model makes single peaks, which a limiter cannot bring to the level of music.
    assert found.loudness == pytest.approx(-28, abs=0.3) and found.true_peak <= -1


def test_a_loop(service: Api, tmp_path: Path) -> None:
    answer, file = made(service, loop=True, bpm=130, key="A minor", duration_seconds=4, loudness=-12, bit_depth=24)
    frames = round(2 * 4 * 60 / 130 * RATE)  # two bars are nearest to 4 s
    samples, sound = read(file)
    assert len(samples) == frames and answer["duration_seconds"] == pytest.approx(frames / RATE)
    assert "bpm=130; key=A minor; bars=2" in sound.comment and sound.subtype == "PCM_24"
    at = file.index(b"smpl")
    loop = struct.unpack("<6I", file[at + 44 : at + 68])
    assert loop == (0, 0, 0, frames - 1, 0, 0)
    (tmp_path / "loop.wav").write_bytes(file)
    tags = parse_tags(read_tags(tmp_path / "loop.wav", "wav"))
    assert (tags.bpm, tags.key) == (130, "A minor")
    # It can be looped on: the service reads its own file.
    assert service.post("/generate", prompt="x", task="extend", source=answer["output_path"], after=1)


def test_the_form_takes_the_same_fields(service: Api) -> None:
    fields = {
        "prompt": "x",
        "duration_seconds": "4",
        "bpm": "120",
        "loop": "true",
        "bit_depth": "24",
        "loudness": "-14",
    }
    answer = service.client.post("/generate/form", files={name: (None, text) for name, text in fields.items()})
    samples, sound = read(base64.b64decode(answer.json()["audio_base64"]))
    assert (len(samples), sound.subtype) == (4 * RATE, "PCM_24")


@pytest.mark.parametrize(("subtype", "bit_depth"), [("PCM_16", 24), ("PCM_24", 24), ("PCM_16", "32f"), ("FLOAT", None)])
def test_more_bits_keep_the_source(service: Api, sources: dict[str, str], subtype: str, bit_depth: Any) -> None:
    path = sources[subtype]
    answer = service.post(
        "/generate", prompt="x", task="repaint", source=path, start=0.5, end=1, bit_depth=bit_depth, seed=1
    )
    result, sound = read(base64.b64decode(answer["audio_base64"]))
    own, _ = read(service.file(path).read_bytes())
    assert sound.subtype == {24: "PCM_24", "32f": "FLOAT", None: "FLOAT"}[bit_depth]
    assert np.array_equal(result[:22_050], own[:22_050]) and np.array_equal(result[44_100:], own[44_100:])
    assert not np.array_equal(result[22_050:44_100], own[22_050:44_100])


KEPT: Json = {"task": "repaint", "start": 0.5, "end": 1, "duration_seconds": None}
REFUSED: list[tuple[Json, str]] = [
    ({"bit_depth": 24, "output_format": "mp3"}, "bit_depth: mp3 has none"),
    ({"bit_depth": 16, "output_format": "m4a"}, "bit_depth: m4a has none"),
    ({"bit_depth": "32f", "output_format": "flac"}, "bit_depth: flac has 16 or 24"),
    ({"bit_depth": 20}, "bit_depth: "),
    ({"bit_depth": True}, "bit_depth: "),
    ({"loudness": -5}, "loudness: "),
    ({"loudness": -37}, "loudness: "),
    ({"loudness": "loud"}, "loudness: "),
    ({"loudness": -14, "duration_seconds": 0.4}, "loudness: less than 0.5 s"),
    ({"loop": True}, "loop: bars need a tempo"),
    ({"loop": True, "prompt": "trap at 140 bpm"}, "loop: bars need a tempo"),
    ({"loop": True, "bpm": 30}, "loop: a bar of 8 s"),
    ({"loop": "perhaps"}, "loop: "),
    ({"loudness": -14} | KEPT, "loudness: repaint keeps"),
    ({"loop": True, "bpm": 120} | KEPT, "loop: repaint cannot"),
    ({"loop": True, "bpm": 120, "task": "cover", "duration_seconds": None}, "loop: cover cannot"),
    ({"bit_depth": 16} | KEPT, "bit_depth: repaint keeps the source's samples, which need 24"),
    ({"output_format": "aac"}, "output_format: "),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED)
def test_bad_input_is_named(service: Api, sources: dict[str, str], fields: Json, message: str) -> None:
    source = {"source": sources["PCM_24"]} if "task" in fields else {}
    body = {"prompt": "x", "duration_seconds": 2} | source | fields
    assert error_of(service.client.post("/generate", json=body), 400).startswith(message)


def test_a_bit_depth_that_the_accepted_format_lacks(service: Api) -> None:
    body = {"prompt": "x", "duration_seconds": 1, "bit_depth": 24}
    answer = service.client.post("/generate", json=body, headers={"accept": "audio/mpeg"})
    assert error_of(answer, 400).startswith("bit_depth: mp3 has none")
