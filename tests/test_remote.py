"""A runner and the trainer on other machines: services of their own, found by their URLs."""

from __future__ import annotations

from pathlib import Path

from scripts.serving import serving
from tests.api import beat, running


def test_runner_and_trainer_elsewhere(tmp_path: Path, tiny: dict[str, str]) -> None:
    shared = tiny | {"STORAGE_URL": (tmp_path / "front" / "data").resolve().as_uri()}
    with (
        serving(tmp_path / "runner", shared, ["runners.ace_step:AceStepRunner"]) as runner,
        serving(tmp_path / "trainer", shared, ["training.service:Training"]) as trainer,
    ):
        here = {"RUNNER_URLS": f'{{"ace_step": "{runner.url}"}}', "TRAINING_URL": trainer.url}
        with running(tmp_path / "front", shared | here | {"ALLOW_NONCOMMERCIAL": "false"}, ("ace_step",)) as api:
            names = " ".join(" ".join(process.cmdline()) for process in api.children())
            assert "AceStepRunner" not in names
            assert "--service-name Training" not in names
            path = api.upload("ada", beat(3, rate=8000, channels=1))
            sent = api.post("/train/submit", producer_id="ada", model_name="far", upload_paths=[path], max_steps=1)
            job = api.ended(sent["job_id"])
            assert job["state"] == "done", job
            assert api.generate(duration_seconds=1, lora_id="ada:far").any()
        assert "was handed over" in trainer.log.read_text()
