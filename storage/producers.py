"""The records of producers whose users sign in: who owns a producer, and who may generate with each twin.

`producers/<producer>.json` is the truth. `producer_owners/<owner>/<producer>` is a mark, by which an owner's producers
are found without reading every record. A mark is written before its record and removed after it, and counts only while
the record names the same owner.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from pydantic import AwareDatetime, BaseModel, Field

from contract import Id, TwinVisibility, Visibility, is_id
from storage import keys, records
from storage.base import AlreadyExists, Changed, Damaged, NotFound, Storage

_LINK_BYTES = 24
# No access is stored for a private twin.
_PRIVATE = TwinVisibility(visibility="private")


@dataclass(frozen=True)
class Owner:
    """A user of an issuer; `subject` is unique within `issuer` only."""

    issuer: str
    subject: str

    @property
    def digest(self) -> str:
        """A name for folders, since an issuer chooses what a subject looks like."""
        return sha256(f"{self.issuer}\n{self.subject}".encode()).hexdigest()[:32]


class ProducerRecord(BaseModel):
    """A producer as it is stored.

    Attributes:
        issuer, owner: the user that owns the producer; None if only API keys and administrators act for it.
        display_name: for people.
        twins: who may generate with a twin, by its model name. A twin that is left out is private.
    """

    producer_id: Id
    issuer: str | None = None
    owner: str | None = None
    display_name: str | None = None
    twins: dict[str, TwinVisibility] = Field(default_factory=dict)
    created_at: AwareDatetime

    def is_owned_by(self, owner: Owner) -> bool:
        return (self.issuer, self.owner) == (owner.issuer, owner.subject)

    def is_open(self, model: str, links: Collection[str]) -> bool:
        """Whether everybody who has sent these links' secrets may generate with the twin."""
        access = self.twins.get(model, _PRIVATE)
        if access.visibility == "link" and access.link:
            secret = access.link.encode()
            return any(hmac.compare_digest(secret, given.encode()) for given in links)
        return access.visibility == "public"

    def with_visibility(self, changes: Mapping[str, Visibility]) -> dict[str, TwinVisibility]:
        """The twins after these changes. A twin that gets the visibility `link` anew gets a new link."""
        twins = dict(self.twins)
        for model, visibility in changes.items():
            if twins.get(model, _PRIVATE).visibility == visibility:
                continue
            link = secrets.token_urlsafe(_LINK_BYTES) if visibility == "link" else None
            twins[model] = TwinVisibility(visibility=visibility, link=link)
        return {model: access for model, access in twins.items() if access.visibility != "private"}

    def with_new_links(self) -> dict[str, TwinVisibility]:
        """The twins as visible as before, with other links."""
        return self.model_copy(update={"twins": {}}).with_visibility(
            {model: access.visibility for model, access in self.twins.items()}
        )


class Producers:
    """The records in storage, which is read at every call: another replica may have changed them."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def find(self, producer: str) -> ProducerRecord | None:
        """The record, None if there is none. Raises Damaged."""
        try:
            return self._read(producer)[0]
        except NotFound:
            return None

    def find_intact(self, producer: str) -> ProducerRecord | None:
        """The record, None if there is none or it is damaged."""
        with suppress(Damaged):
            return self.find(producer)
        return None

    def all(self) -> Iterator[ProducerRecord]:
        for _, record in records.read_all(self.storage, self.storage.list(keys.producer_records()), _parse):
            yield record

    def of_owner(self, owner: Owner) -> frozenset[str]:
        """The ids of the producers whose record names the owner. A damaged record names none."""
        found = set()
        for entry in self.storage.list(keys.owned_producers(owner.digest)):
            producer = entry.key.rpartition("/")[2]
            record = self.find_intact(producer) if is_id(producer) else None
            if record and record.is_owned_by(owner):
                found.add(producer)
        return frozenset(found)

    def claim(self, producer: str, owner: Owner | None) -> ProducerRecord:
        """Store a new record.

        Args:
            owner: None for a producer that no user owns.

        Raises:
            AlreadyExists: there is a record of another owner.
        """
        record = _new_record(producer, owner)
        self._mark(producer, owner)
        try:
            self.storage.put(keys.producer_record(producer), _encoded(record), if_absent=True)
        except AlreadyExists:
            existing = self.find_intact(producer)
            # The same user may have sent the same request twice.
            if existing and owner and existing.is_owned_by(owner):
                return existing
            if owner:
                self.storage.delete(keys.owned_producer(owner.digest, producer))
            raise
        return record

    def assign(self, producer: str, owner: Owner) -> ProducerRecord:
        """Make `owner` the owner in place of any earlier one; a damaged record is replaced.

        Links of twins that another handed out end.
        """
        self._mark(producer, owner)
        while True:
            try:
                before, etag = self._read(producer)
            except NotFound:
                before, etag = _new_record(producer, None), None
            except Damaged:
                before, etag = (
                    _new_record(producer, None),
                    records.etag_of(self.storage, keys.producer_record(producer)),
                )
            twins = before.twins if before.is_owned_by(owner) else before.with_new_links()
            after = before.model_copy(update={"issuer": owner.issuer, "owner": owner.subject, "twins": twins})
            try:
                self._write(after, etag)
            except (AlreadyExists, Changed):
                continue
            if before.issuer and before.owner and not before.is_owned_by(owner):
                previous = Owner(before.issuer, before.owner)
                self.storage.delete(keys.owned_producer(previous.digest, producer))
            return after

    def change(
        self, producer: str, visibility: Mapping[str, Visibility], display_name: str | None = None
    ) -> ProducerRecord | None:
        """Change the visibility of these twins, and the display name if there is a new one; None without a record."""
        while True:
            try:
                before, etag = self._read(producer)
            except NotFound:
                return None
            changes: dict[str, Any] = {"twins": before.with_visibility(visibility)}
            changes |= {} if display_name is None else {"display_name": display_name}
            after = before.model_copy(update=changes)
            if after == before:
                return before
            with suppress(Changed):
                self._write(after, etag)
                return after

    def delete(self, producer: str) -> list[str]:
        """Remove the record, damaged or not, and its owner's mark. Returns the keys that were deleted."""
        marks = []
        record = self.find_intact(producer)
        if record and record.issuer and record.owner:
            marks = [keys.owned_producer(Owner(record.issuer, record.owner).digest, producer)]
        return [key for key in (keys.producer_record(producer), *marks) if self.storage.delete(key)]

    def is_open(self, lora_id: str, links: Collection[str]) -> bool:
        """Whether a client may generate with a twin of a producer that is not its own. A damaged record opens none.

        Args:
            links: the secrets of twin links that it has sent.
        """
        producer, _, model = lora_id.partition(":")
        record = self.find_intact(producer)
        return record is not None and record.is_open(model, links)

    def _mark(self, producer: str, owner: Owner | None) -> None:
        if owner:
            with suppress(AlreadyExists):
                self.storage.put(keys.owned_producer(owner.digest, producer), b"", if_absent=True)

    def _read(self, producer: str) -> tuple[ProducerRecord, str]:
        return records.read(self.storage, keys.producer_record(producer), _parse)

    def _write(self, record: ProducerRecord, etag: str | None) -> None:
        key = keys.producer_record(record.producer_id)
        if etag is None:
            self.storage.put(key, _encoded(record), if_absent=True)
        else:
            self.storage.put(key, _encoded(record), if_match=etag)


def _new_record(producer: str, owner: Owner | None) -> ProducerRecord:
    issuer, subject = (owner.issuer, owner.subject) if owner else (None, None)
    return ProducerRecord(producer_id=producer, issuer=issuer, owner=subject, created_at=datetime.now(UTC))


def _encoded(record: ProducerRecord) -> bytes:
    return record.model_dump_json(indent=1).encode()


def _parse(data: bytes, key: str) -> ProducerRecord:
    record = ProducerRecord.model_validate_json(data)
    if keys.producer_record(record.producer_id) != key:
        raise ValueError("it is the record of another producer")
    return record
