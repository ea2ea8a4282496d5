"""The record of a track, which is stored besides its audio."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import ConfigDict

from contract import Figures, GenerateRequest, TrackAnswer, TrackTwin
from core.text import shown
from generation.delivery.plan import Delivered
from generation.provenance import Provenance
from storage import keys

# The fields of a request that are fields of the record, or say only how the track is answered.
_NOT_OPTIONS = {"prompt", "response", "output_format", "takes", "rank", "best_of", "accept", "figures", "stream"}


class TrackRecord(TrackAnswer):
    """A track as it is stored. A field that a later version adds is ignored.

    Attributes:
        waveform: the peaks as base64, a byte each; see `PeaksAnswer`.
    """

    model_config = ConfigDict(extra="ignore")

    waveform: str = ""

    @property
    def stored_at(self) -> str:
        """The record's key."""
        return keys.track_record(self.track_id)

    def answer(self) -> TrackAnswer:
        return TrackAnswer.model_validate(self.model_dump(exclude={"waveform"}))

    def peaks(self) -> list[float]:
        return [round(each / 255, 3) for each in base64.b64decode(self.waveform)]

    def listed(self) -> str:
        """The record for lists: a line without the waveform."""
        return self.model_dump_json(exclude={"waveform"})

    def encoded(self) -> bytes:
        return self.model_dump_json(indent=1).encode()


def parse(data: bytes, key: str) -> TrackRecord:
    """Raises ValueError if it is not the record of this key."""
    record = TrackRecord.model_validate_json(data)
    if keys.track_of(record.track_id) is None or record.stored_at != key:
        raise ValueError(f"it is the record of another track, {shown(record.track_id)}")
    return record


def new_record(
    key: str,
    request: GenerateRequest,
    provenance: Provenance,
    made: Delivered,
    producer: str | None,
    strengths: Sequence[float],
    takes: Sequence[str] = (),
    figures: Figures | None = None,
) -> TrackRecord:
    """The record of a track that was just made.

    Args:
        key: the track's.
        provenance: with the request's twins in their order.
        made: its file.
        producer: whose twin or recording it comes from.
        strengths: those of the twins.
        takes: the keys of all takes of the request.
        figures: what is heard in it; None where that was not measured.
    """
    twins = []
    for twin, strength in zip(provenance.twins, strengths, strict=True):
        lora_id, _, version = twin.partition("@")
        twins.append(TrackTwin(lora_id=lora_id, version=version, strength=strength))
    source = provenance.source
    track_id = keys.track_id(key)
    assert track_id is not None
    return TrackRecord(
        track_id=track_id,
        created_at=provenance.made_at or datetime.now(UTC),
        output_path=keys.to_path(key),
        output_format=request.output_format,
        sample_rate=made.sample_rate,
        duration_seconds=made.seconds,
        prompt=request.prompt,
        options=request.model_dump(mode="json", exclude_unset=True, exclude=_NOT_OPTIONS) | {"seed": request.seed},
        seed=request.seed,
        backend=provenance.backend,
        checkpoint=provenance.base,
        twins=twins,
        producer_id=producer,
        bpm=provenance.bpm,
        key=request.key,
        task=request.task,
        parent=keys.track_id(source.removeprefix(keys.PATH_PREFIX)) if source else None,
        source=source,
        reference=provenance.reference,
        takes=[keys.track_id(take) or "" for take in takes] if len(takes) > 1 else [],
        figures=figures,
        waveform=base64.b64encode(made.waveform).decode(),
    )
