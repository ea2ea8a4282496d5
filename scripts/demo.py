"""Uploads a beat, trains a twin, generates with and without it, and draws both tracks: `make demo`."""

from __future__ import annotations

import base64
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import matplotlib
import numpy as np
import soundfile
from numpy.typing import NDArray

from core.settings import ROOT
from recipes.synthesiser import render, sample_song
from scripts.serving import serving

FOLDER = ROOT / "demo"
PRODUCER = "demo_producer"
STYLE = "chiptune"
PROMPT = "chiptune, 8-bit video game loop, bright square lead"
SECONDS = 12
_POLL_SECONDS = 1.0


def main() -> int:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    beat = FOLDER / "beat.flac"
    wave = render(sample_song(np.random.default_rng(7), STYLE), 60)
    soundfile.write(beat, wave.T, 48_000)
    print(f"Starting a server (log: {FOLDER / 'server.log'}) ...", flush=True)
    with serving(FOLDER) as server, httpx.Client(base_url=server.url, timeout=600, trust_env=False) as client:
        upload = _post(client, "/store-upload", producer_id=PRODUCER, filename=beat.name, content_base64=_base64(beat))
        print(f"Uploaded {upload['path']}", flush=True)
        job = _train(client, upload["path"])
        print(f"Trained {job['lora_path']}", flush=True)
        without = _generate(client, "without_twin.wav")
        twin = _generate(client, "with_twin.wav", lora_id=f"{PRODUCER}:{job['model_name']}")
    if np.array_equal(without, twin):
        raise SystemExit("The track is the same with and without the twin")
    _draw({"without the twin": without, "with the twin": twin}, FOLDER / "spectrograms.png")
    print(f"Done. Listen to without_twin.wav and with_twin.wav, look at spectrograms.png, in {FOLDER}")
    return 0


def _post(client: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    return _checked(client.post(path, json=body))


def _checked(answer: httpx.Response) -> dict[str, Any]:
    document: dict[str, Any] = answer.json()
    if answer.is_error:
        raise SystemExit(f"{answer.request.url.path}: {answer.status_code} {document.get('error')}")
    return document


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _train(client: httpx.Client, path: str) -> dict[str, Any]:
    request = {"producer_id": PRODUCER, "upload_paths": [path], "metadata_per_file": [{"genre": STYLE, "tags": PROMPT}]}
    submitted = _post(client, "/train/submit", **request)
    while True:
        job = _checked(client.get(f"/jobs/{submitted['job_id']}"))
        steps = f"step {job['step']} of {job['total_steps']}, loss {job['loss']}" if job["step"] else ""
        print(f"\r{job['state']:12}{steps:50}", end="", flush=True)
        if job["state"] == "done":
            print()
            result: dict[str, Any] = job["result"]
            return result
        if job["state"] in ("failed", "cancelled"):
            raise SystemExit(f"\ntraining: {job['error']}")
        time.sleep(_POLL_SECONDS)


def _generate(client: httpx.Client, name: str, **more: Any) -> NDArray[np.float32]:
    made = _post(client, "/generate", prompt=PROMPT, duration_seconds=SECONDS, seed=11, **more)
    (FOLDER / name).write_bytes(base64.b64decode(made["audio_base64"]))
    audio, rate = soundfile.read(FOLDER / name, dtype="float32", always_2d=True)
    if abs(len(audio) / rate - SECONDS) > 0.1 or np.abs(audio).max() < 0.01:
        raise SystemExit(f"{name}: it is {len(audio) / rate:.1f} s long with a peak of {np.abs(audio).max():.3f}")
    print(f"Generated {name}, {SECONDS} s by {made['backend']}", flush=True)
    return audio.mean(axis=1)


def _draw(tracks: dict[str, NDArray[np.float32]], path: Path) -> None:
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rate = soundfile.info(FOLDER / "with_twin.wav").samplerate
    figure, axes = plt.subplots(1, len(tracks), figsize=(14, 5), sharey=True, layout="constrained")
    for axis, (title, audio) in zip(axes, tracks.items(), strict=True):
        axis.specgram(audio + 1e-7, NFFT=1024, Fs=rate, noverlap=768, vmin=-140, vmax=-30)
        axis.set(title=title, xlabel="seconds", ylim=(0, min(rate / 2, 12_000)))
    axes[0].set_ylabel("Hz")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
