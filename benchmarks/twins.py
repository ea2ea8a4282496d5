"""Twins of producers whose styles the starter never heard: is each best on its own producer's music?

    python -m benchmarks.twins [--backend ace_step] [--songs 12] [--seconds 30] [--steps 160] [--folder runs/twins]

A job is run for every style of the synthesiser that the starter was not trained on (three by default), and for two
that are none: white noise, and one second of sound. Prints each report's verdict, and the loss of the songs that each
producer's job set aside, with every twin and with none, under the same noise. Jobs that are done in the folder are
not run again, and those that were interrupted go on.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from contract import TrainRequest
from models.adapters import LoraPair, linear_layers, read
from models.checkpoints import resolve
from models.starter.synthesiser import UNSEEN_STYLES, caption, metadata, render, sample_song
from preprocessing.dataset import restore
from runners import TABLE
from settings import settings
from storage import Storage, keys, open_storage
from training.evaluation import DRAWS
from training.examples import ExampleCache
from training.intake import Intake
from training.jobs import JobRecord
from training.loop import generator_of
from training.material import Material, gather
from training.run import run
from training.stop import Stop

_RATE = 44_100
_NOISE, _SECOND = "white-noise", "one-second"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="ace_step")
    parser.add_argument("--styles", nargs="+", default=list(UNSEEN_STYLES[:3]))
    parser.add_argument("--songs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("runs/twins"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    folder = options.folder.resolve()
    os.environ["STORAGE_URL"] = (folder / "data").as_uri()
    os.environ["BENTOML_HOME"] = str(folder / "bentoml")
    storage = open_storage(settings().storage_url, None)
    styles = [style.replace(" ", "-") for style in options.styles]
    for producer, style in zip([*styles, _NOISE, _SECOND], [*options.styles, _NOISE, _SECOND], strict=True):
        songs, seconds = (1, 1.0) if style == _SECOND else (options.songs, options.seconds)
        record = _twin(storage, producer, style, options.backend, songs, seconds, options.steps)
        verdict = json.loads(storage.get(keys.report(record.job_id)))["verdict"]
        print(f"{producer}: {verdict['verdict']}. {verdict['sentence']}", flush=True)
    _table(storage, styles, options.backend)


def _twin(
    storage: Storage, producer: str, style: str, backend: str, songs: int, seconds: float, steps: int
) -> JobRecord:
    job_id = f"{producer}-{backend}"
    paths, said = [], []
    for number in range(songs):
        key = keys.upload(producer, "songs", f"{number}.wav")
        audio, about = _song(style, number, seconds)
        if storage.stat(key) is None:
            with tempfile.NamedTemporaryFile(suffix=".wav") as file:
                soundfile.write(file.name, audio.T, _RATE)
                storage.put_file(key, Path(file.name))
        paths.append(keys.to_path(key))
        said.append(about)
    request = TrainRequest.model_validate(
        {
            "producer_id": producer,
            "upload_paths": paths,
            "metadata_per_file": said,
            "job_id": job_id,
            "model_name": backend,
            "max_steps": steps,
            "backend_override": backend,
        }
    )
    intake = Intake(storage, settings())
    record = intake.admit(request)
    if record.state in ("failed", "cancelled"):
        record = intake.resume(job_id)
    if record.state == "queued":
        record = run(job_id, record.attempt, storage, settings(), lambda record: None, Stop())
    if record.state != "done":
        raise SystemExit(f"{job_id}: {record.state}: {record.error}")
    return record


def _song(style: str, number: int, seconds: float) -> tuple[np.ndarray, dict[str, Any]]:
    rng = np.random.default_rng([2_026, number])
    if style == _NOISE:
        return rng.standard_normal((1, round(seconds * _RATE))).astype(np.float32) * 0.1, {}
    song = sample_song(rng, "trap" if style == _SECOND else style)
    fields = metadata(song)
    about = {"caption": caption(song, rng), "bpm": fields["bpm"], "key": fields["keyscale"]}
    return render(song, seconds, _RATE, 1), about


def _table(storage: Storage, producers: list[str], backend_name: str) -> None:
    backend = TABLE.choose(backend_name, settings())
    base = resolve(backend.checkpoint_name(settings()), backend.name, backend.load_tiny())
    model: Any = backend.load_model_class().load(base, torch.device("cpu"), torch.float32)
    trainer: Any = backend.load_trainer_class()(model)
    cache = ExampleCache(trainer, model, base)
    twins: dict[str, Mapping[str, LoraPair]] = {"none": {}}
    material: dict[str, Material] = {}
    for producer in producers:
        record = json.loads(storage.get(keys.dataset_record(producer, f"{producer}-{backend_name}")))
        with tempfile.TemporaryDirectory() as folder:
            material[producer] = gather(restore(record, storage, Path(folder)), model, cache, lambda: None)
        with tempfile.NamedTemporaryFile() as file:
            storage.get_file(keys.lora(producer, backend_name), Path(file.name))
            twins[producer] = read(Path(file.name), model).pairs
    print(
        f"\nloss on songs set aside, {backend_name} on {base.folder.name}\n{'twin':16}",
        *(f"{p:>16}" for p in producers),
    )
    table = {
        twin: [_loss(trainer, model, material[producer], pairs) for producer in producers]
        for twin, pairs in twins.items()
    }
    for twin, row in table.items():
        print(f"{twin:16}", *(f"{loss:16.4f}" for loss in row))
    best = [min(table, key=lambda twin: table[twin][column]) for column in range(len(producers))]
    print("best:           ", *(f"{twin:>16}" for twin in best))
    if best != producers:
        raise SystemExit("not every twin is best on its own producer")


@torch.no_grad()
def _loss(trainer: Any, model: Any, material: Material, pairs: Mapping[str, LoraPair]) -> float:
    examples = material.held_out.examples
    with _merged(model, pairs):
        losses = [
            trainer.losses([examples[place]], [generator_of(("table", place, draw))]).item()
            for place in range(len(examples))
            for draw in range(2 * DRAWS)
        ]
    return float(np.mean(losses))


@contextmanager
def _merged(model: Any, pairs: Mapping[str, LoraPair]) -> Iterator[None]:
    layers = linear_layers(model.adapted)
    kept = {name: layers[name].weight.data.clone() for name in pairs}
    for name, pair in pairs.items():
        layers[name].weight.data += (pair.a @ pair.b).T
    try:
        yield
    finally:
        for name, weight in kept.items():
            layers[name].weight.data.copy_(weight)


if __name__ == "__main__":
    main()
