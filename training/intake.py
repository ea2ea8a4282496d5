"""What is checked before a job is made, so that a refused request leaves nothing behind."""

from __future__ import annotations

from contract import TERMINAL, TrainRequest
from edge import access
from models.library import Library
from preprocessing.dataset import check_sources
from runners import TABLE
from settings import Settings
from storage import Storage
from training.jobs import JobRecord, Jobs


class Intake:
    def __init__(self, storage: Storage, settings: Settings) -> None:
        self.storage = storage
        self.settings = settings
        self.jobs = Jobs(storage)
        self.library = Library(storage)

    def admit(self, request: TrainRequest) -> JobRecord:
        """The request's job: a new one in the queue, or the one that it made before.

        Raises:
            Refusal: the request is not acceptable; nothing was written.
        """
        access.own(request.producer_id)
        backend = TABLE.choose(request.backend_override, self.settings)
        existing = self.jobs.existing(request)
        if existing:
            return existing
        access.room_for_a_job(record.producer_id for record in self.jobs.all() if record.state not in TERMINAL)
        check_sources(request, self.storage, self.settings)
        self.library.reserve(request.producer_id, request.model_name, self._in_use)
        return self.jobs.create(request, backend.name)

    def _in_use(self, lora_id: str) -> bool:
        """Whether a twin is stored, or being made."""
        producer, _, model = lora_id.partition(":")
        return self.library.exists(lora_id) or any(
            record.model_name == model and record.state not in TERMINAL for record in self.jobs.all(producer)
        )
