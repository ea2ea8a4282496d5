"""The checks before a job is created. A refused request leaves nothing in storage."""

from __future__ import annotations

import uuid

from adapters.library import Library
from contract import TERMINAL, RetrainRequest, TrainRequest
from core import principal
from core.errors import Refusal
from core.settings import Settings
from preprocessing.record import stored
from preprocessing.sources import check_sources
from preprocessing.webhook_url import check_webhook_url
from runners import TABLE
from storage import Storage
from storage.ownership import check_quota
from storage.webhooks import Deliveries
from training.jobs.record import JobRecord
from training.jobs.slots import JobSlots
from training.jobs.store import Jobs


class Admission:
    """Creates jobs from train requests, and puts ended jobs back into the queue."""

    def __init__(self, storage: Storage, settings: Settings) -> None:
        self.storage = storage
        self.settings = settings
        self.jobs = Jobs(storage)
        self.library = Library(storage)
        self.slots = JobSlots(storage, self.jobs)
        self.webhooks = Deliveries(storage)

    def admit(self, request: TrainRequest) -> JobRecord:
        """Returns a new queued job, or the existing one if the request names it by `job_id`.

        Raises:
            Refusal: the request is not acceptable; nothing was written.
        """
        principal.check_producer(request.producer_id)
        backend = TABLE.choose(request.backend_override, self.settings)
        existing = self.jobs.existing(request)
        if existing:
            return existing
        check_webhook_url(request.webhook_url)
        if request.webhook_url:
            self.webhooks.check_room(principal.current().account)
        check_sources(request, self.storage, self.settings)
        stored(request, self.storage)
        check_quota(self.storage, request.producer_id, 0, self.settings.producer_max_bytes)
        named = request.model_copy(update={"job_id": request.job_id or str(uuid.uuid4())})
        self.library.names.check(request.producer_id, request.model_name, self._in_use)
        with self.slots.taken(str(named.job_id), request.producer_id):
            self.library.names.reserve(request.producer_id, request.model_name, self._in_use)
            return self.jobs.create(named, backend.name)

    def admit_again(self, lora_id: str, changes: RetrainRequest) -> JobRecord:
        """A job that trains a twin again from the dataset it was trained on.

        Raises:
            Refusal: 404, there is no such twin; 409, its dataset is not known or not stored any more.
        """
        versions = self.library.versions(lora_id)
        # If the twin's own files are gone or damaged, its newest version has the same header.
        header = (self.library.find(lora_id) if self.library.exists(lora_id) else versions)[0].header
        if not header.job_id:
            raise Refusal(
                409, f"lora_id: {lora_id} was imported, so there is no dataset to train it on; import it again"
            )
        try:
            before = self.jobs.get(header.job_id).request
        except Refusal as refusal:
            if refusal.status != 404:
                raise
            raise Refusal(
                409, f"lora_id: the record of the job that made {lora_id} is gone; train it from its files"
            ) from None
        kept = before.model_dump(
            exclude={"job_id", "upload_paths", "upload_urls", "metadata_per_file", "tag_before_train", "webhook_url"}
        )
        source = {"dataset_job_id": before.dataset_job_id or header.job_id, "backend_override": header.backend}
        asked = changes.model_dump(exclude_none=True)
        return self.admit(TrainRequest.model_validate(kept | source | asked))

    def resume(self, some_id: str) -> JobRecord:
        """Put a job that failed or was cancelled back into the queue. One that is open stays as it is.

        Raises:
            Refusal: 404; 409, it is done or being cancelled; 400, its backend is not served any more.
        """
        record = self.jobs.get_settled(some_id)
        TABLE.choose(record.backend, self.settings)
        if record.state not in TERMINAL:
            return self.jobs.reopen(record.job_id)
        with self.slots.taken(record.job_id, record.producer_id, record.attempt + 1):
            return self.jobs.reopen(record.job_id)

    def _in_use(self, lora_id: str) -> bool:
        """Whether a twin is stored or being trained."""
        producer, _, model = lora_id.partition(":")
        return self.library.exists(lora_id) or any(
            (record.producer_id, record.model_name) == (producer, model) for record in self.jobs.open()
        )
