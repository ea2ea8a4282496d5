"""A third backend needs a row in the runner table, a section in the configuration, and files of its own."""

from __future__ import annotations

import base64
import io
import shutil
import textwrap
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from core.settings import ROOT, Settings
from runners.table import Backend, Table
from scripts.serving import serving
from tests.api import PATIENCE, error_of
from tests.integration.test_serving import LEFT_OUT

pytestmark = pytest.mark.long

MODEL = '''
"""Hums: one Linear layer makes the pitch, and an adapter on it moves it."""

import numpy as np
import torch

from models.base import Model, Plan
from adapters.batched_lora import add_lora, batch_key, blend, check_adapters


class Tone:
    steps_left = 1


class Tones:
    def __init__(self, runs):
        self.runs = runs

    def step(self):
        for run in self.runs:
            run.steps_left -= 1
        return
        yield


class Hum(Model):
    backend = "hum"
    overhead = 0.0
    sample_rate = 16_000
    channels = 1
    dtype = torch.float32
    device = torch.device("cpu")
    adapted = None

    def __init__(self):
        self.adapted = torch.nn.Sequential(torch.nn.Linear(1, 1))
        self.adapted[0].weight.data.fill_(220.0)
        self.adapted[0].bias.data.zero_()

    @classmethod
    def load(cls, checkpoint, device, dtype, memory):
        return cls()

    def file_name(self, module):
        return module

    def plan(self, row):
        check_adapters(self.adapted, row.adapters)
        return Plan(steps=1, cost=row.seconds, batch_key=batch_key(row.adapters))

    def begin(self, row):
        return Tone()

    def batch(self, runs):
        return Tones(runs)

    @torch.no_grad()
    def finish(self, run, row):
        one = torch.ones(1, 1)
        pitch = add_lora(self.adapted(one), one, blend(row.adapters).get("0")).item()
        time = np.arange(round(row.seconds * self.sample_rate)) / self.sample_rate
        return 0.5 * np.sin(2 * np.pi * pitch * time, dtype=np.float32)[None]
        yield


def build(folder):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
'''

RUNNER = '''
"""The humming runner."""

import bentoml

from core.configuration import service_config
from runners.base import Runner


@bentoml.service(**service_config("HumRunner"))
class HumRunner(Runner):
    backend = "hum"
'''

TRAINER = '''
"""Learns the loudest pitch."""

import numpy as np
import torch

from training.base import Recipe


class HumTrainer:
    def __init__(self, model):
        self.model = model

    def recipe(self, seconds):
        return Recipe(steps=200, batch=1, rank=1, alpha=1, targets=["0"], learning_rate=1.0, warmup=2, clip=1e9)

    def example(self, audio, text):
        spectrum = np.abs(np.fft.rfft(audio[0]))
        pitches = np.fft.rfftfreq(audio.shape[1], 1 / self.model.sample_rate)
        return {"pitch": torch.tensor(pitches[spectrum.argmax()], dtype=torch.float32)}

    def losses(self, examples, generators):
        pitch = self.model.adapted(torch.ones(1, 1))
        return torch.stack([(pitch - example["pitch"]).abs().mean() for example in examples])

    def save_memory(self):
        pass
'''

ROW = """

from runners.hum import HumRunner

TABLE.register(
    Backend(
        name="hum",
        service=HumRunner,
        model="models.hum:Hum",
        trainer="training.hum:HumTrainer",
        tiny="models.hum:build",
        checkpoint="ace_step_model",
        max_seconds=30.0,
        licence="MIT",
        commercial_use=True,
    )
)
"""


def _pitch(file: bytes) -> float:
    audio, rate = soundfile.read(io.BytesIO(file))
    return float(np.fft.rfftfreq(len(audio), 1 / rate)[np.abs(np.fft.rfft(audio)).argmax()])


def test_a_third_backend_is_a_row_and_its_own_files(tmp_path: Path) -> None:
    copy = tmp_path / "project"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    (copy / "models" / "hum.py").write_text(MODEL)
    (copy / "runners" / "hum.py").write_text(RUNNER)
    (copy / "training" / "hum.py").write_text(TRAINER)
    with (copy / "runners" / "__init__.py").open("a") as table:
        table.write(ROW)
    with (copy / "configuration.yaml").open("a") as configuration:
        configuration.write(textwrap.indent("\nHumRunner: {workers: 1}\n", "  "))

    tone = io.BytesIO()
    soundfile.write(tone, 0.5 * np.sin(2 * np.pi * 440 * np.arange(44_100 * 3) / 44_100), 44_100, format="WAV")
    upload = {"producer_id": "ada", "filename": "a.wav", "content_base64": base64.b64encode(tone.getvalue()).decode()}
    with serving(tmp_path, {"MUSIC_BACKEND": "hum"}, cwd=copy) as server:
        client = httpx.Client(base_url=server.url, timeout=PATIENCE)
        path = client.post("/store-upload", json=upload).json()["path"]
        job = client.post("/train/submit", json={"producer_id": "ada", "upload_paths": [path]}).json()["job_id"]
        end = time.monotonic() + PATIENCE
        while (record := client.get(f"/jobs/{job}").json())["state"] not in ("done", "failed"):
            assert time.monotonic() < end, record
            time.sleep(0.5)
        assert record["state"] == "done" and record["backend"] == "hum", record
        body = {"prompt": "hum", "duration_seconds": 2}
        plain, twin = (
            client.post("/generate", json=body | more, headers={"accept": "audio/wav"}).content
            for more in ({}, {"lora_id": "ada:nawfside_lora"})
        )
        stream = client.post("/generate", json=body | {"stream": True}, headers={"accept": "audio/wav"})
        assert error_of(stream, 409) == "stream: hum makes tracks as a whole; leave it out"
        assert [row["name"] for row in client.get("/backends").json()["backends"]] == ["ace_step", "musicgen", "hum"]
    assert _pitch(plain) == pytest.approx(220, abs=1)
    assert _pitch(twin) == pytest.approx(440, abs=5)


def _row(name: str, commercial: bool = True) -> Backend:
    return Backend(name, None, "m:M", "t:T", "b:b", "ace_step_model", 10.0, "MIT", commercial)


def test_the_table_refuses_duplicates_and_bad_names() -> None:
    table = Table()
    table.register(_row("one"))
    with pytest.raises(ValueError, match="already"):
        table.register(_row("one"))
    for bad in ("", "Upper", "1st", "a-b", "a" * 33):
        with pytest.raises(ValueError, match="not a valid backend name"):
            table.register(_row(bad))


def test_a_licence_can_be_left_out() -> None:
    table = Table()
    table.register(_row("free"))
    table.register(_row("bound", commercial=False))
    assert list(table.enabled(Settings())) == ["free", "bound"]
    assert list(table.enabled(Settings(allow_noncommercial=False))) == ["free"]
