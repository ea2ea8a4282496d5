"""A composer's twin, trained and played as the command line does it."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import soundfile

from adapters.library import Library
from benchmarks.real.composers import Composer
from cli import library_and_runners
from contract import GenerateRequest
from core.plain_json import decode_object
from core.settings import ROOT, settings
from generation.outbox import Outbox, outbox_folder
from generation.pipeline import Generation
from storage import Storage, keys, records
from training.evaluation.audio_measures import Audio

# A request's fields that say what to play: the prompt, and the tempo, key and time signature if there are any.
Prompt = dict[str, Any]

NEUTRAL: tuple[Prompt, ...] = ({"prompt": "music"}, {"prompt": "a piece of music"}, {"prompt": "a song"})


@dataclass(frozen=True)
class Twin:
    """A composer's twin, and what its training stored.

    Attributes:
        lora_id: the twin's name.
        file: its adapter file.
        report: the report's JSON.
        captions: of the dataset's segments, a different song each as far as there are.
        bpm: its default tempo.
    """

    lora_id: str
    file: bytes
    report: dict[str, Any]
    captions: list[Prompt]
    bpm: int | None


def train(storage: Storage, composer: Composer, backend: str, max_steps: int | None) -> Twin:
    """Train the composer's twin with the default recipe, unless storage has it already."""
    producer, model = composer.name, f"real_{backend}"
    lora_id, library = f"{producer}:{model}", Library(storage)
    if not library.exists(lora_id):
        command = [sys.executable, "cli.py", "--task", "train", "--producer-id", producer, "--model-name", model]
        command += ["--backend", backend, *(f"--paths={path.resolve()}" for path in composer.train)]
        command += [f"--max-steps={max_steps}"] if max_steps else []
        subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=True)
    stored = library.find(lora_id)[0]
    job = stored.header.job_id
    dataset = records.read(storage, keys.dataset_record(producer, job), lambda data, _: decode_object(data))[0]
    report = decode_object(storage.get(keys.report(job)))
    return Twin(lora_id, storage.get(stored.key), report, _captions(dataset), stored.header.bpm)


def _captions(dataset: dict[str, Any]) -> list[Prompt]:
    """The segments' captions as prompts: first one of each song, then a second of each."""
    by_song: dict[int, list[Prompt]] = {}
    for segment in dataset["segments"]:
        caption = segment["caption"]
        prompt = {"prompt": caption["text"]} | {
            name: caption[name] for name in ("bpm", "key", "time_signature") if caption[name] is not None
        }
        prompts = by_song.setdefault(segment["file"], [])
        if prompt not in prompts:
            prompts.append(prompt)
    longest = max(map(len, by_song.values()))
    return [prompts[turn] for turn in range(longest) for prompts in by_song.values() if turn < len(prompts)]


class Player:
    """Plays tracks, each seed's prompts as one batch of requests."""

    def __init__(self, storage: Storage, backend: str, seconds: float) -> None:
        library, runners = library_and_runners(storage)
        outbox = Outbox(storage, settings().storage_url, outbox_folder())
        self._generation = Generation(runners, library, outbox, settings())
        self._fields = {"backend_override": backend, "duration_seconds": seconds}
        self._base: dict[str, list[Audio]] = {}

    def play(self, prompts: Sequence[Prompt], seed: int, lora_id: str | None = None) -> list[Audio]:
        """A track for each prompt, mono, by the base model or by the twin. Each has noise of its own."""
        fields = self._fields | {"lora_id": lora_id}
        requests = [
            GenerateRequest.model_validate(fields | {"seed": seed * len(prompts) + number} | prompt)
            for number, prompt in enumerate(prompts)
        ]

        async def generate() -> list[Audio]:
            tracks = await asyncio.gather(*(self._generation.generate(each, as_base64=False) for each in requests))
            return [
                soundfile.read(io.BytesIO(track.file), dtype="float32", always_2d=True)[0].mean(1) for track in tracks
            ]

        if lora_id is not None:
            return asyncio.run(generate())
        # The base model's tracks for the neutral prompts are the same for every composer.
        key = repr((prompts, seed))
        if key not in self._base:
            self._base[key] = asyncio.run(generate())
        return self._base[key]
