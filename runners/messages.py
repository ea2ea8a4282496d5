"""What the front and a runner say to each other."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from adapters.adapter_file import Header


class AdapterRef(BaseModel):
    """An adapter as the front found it: where it lies, where else, what it is, how strongly it is to work."""

    key: str
    spares: tuple[str, ...] = ()
    header: Header
    strength: float = 1.0


class TrackRequest(BaseModel):
    """One row for a runner's batch. `None` leaves the choice to the model.

    Attributes:
        patience: seconds after which the track is given up.
        place: by which its place in the queue may be asked for.
    """

    prompt: str
    seconds: float
    seed: int
    patience: float
    lyrics: str = ""
    bpm: int | None = None
    key: str | None = None
    time_signature: str | None = None
    steps: int | None = None
    guidance: float | None = None
    shift: float | None = None
    temperature: float | None = None
    adapters: list[AdapterRef] = []
    place: str = ""


class TrackAnswer(BaseModel):
    """A track, or why there is none.

    Attributes:
        pcm: 16-bit little-endian samples, interleaved.
        error, status: the sentence for the client and its HTTP status.
        wait: seconds after which it is worth trying again, where that is known.
    """

    # As text where the runner is on another machine: what is sent there is JSON.
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    pcm: bytes = b""
    sample_rate: int = 0
    channels: int = 0
    error: str | None = None
    status: int = 200
    wait: int | None = None


class PlaceAnswer(BaseModel):
    """Where a row stands; the figures are of `forecast.Outlook`. No `state`: this runner does not know it."""

    state: Literal["preparing", "waiting", "making", "finishing"] | None = None
    ahead: int | None = None
    progress: float | None = None
    seconds_left: float | None = None


class RunnerState(BaseModel):
    """How a runner is.

    Attributes:
        ready: it can serve.
        loading: it is not yet known whether it can.
        reason: why not, in a line.
        checkpoint: as configured.
        base_sha256: the checkpoint's digest, known when ready.
        largest_adapter: bytes that a file with an adapter of the model may have.
    """

    ready: bool
    loading: bool = False
    reason: str | None
    checkpoint: str
    base_sha256: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    largest_adapter: int | None = None


class AdoptRequest(BaseModel):
    """An adapter that was made elsewhere, and whose it shall be."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    data: bytes
    config: bytes | None = None
    producer_id: str
    model_name: str


class AdoptAnswer(BaseModel):
    """The adapter in our form, or why there is none."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    data: bytes = b""
    notes: list[str] = []
    error: str | None = None
    status: int = 200
