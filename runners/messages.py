"""The messages between the front process and a runner."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveInt

from adapters.adapter_file import Header
from contract import LoraScales, SamplingOptions
from contract.backends import BackendLoading
from contract.tasks import Task, TrackName
from models.base import Text

# The samples of a track between runner and front; int16 is dithered.
PcmFormat = Literal["int16", "float32"]
PCM_BYTES: dict[PcmFormat, int] = {"int16": 2, "float32": 4}

# Bytes travel as base64 where the runner is on another machine, since messages are JSON there.
_BYTES_AS_BASE64 = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


class AdapterRef(BaseModel):
    """An adapter as the front found it.

    Attributes:
        key: the storage key of its file.
        spares: keys of copies of the file.
        header: the file's header.
        strength: the factor on the adapter's change of the weights.
    """

    key: str
    spares: tuple[str, ...] = ()
    header: Header
    strength: float = 1.0


class LatentsMessage(BaseModel):
    """A track's latents: see `models.base.Latents`.

    Attributes:
        values: 32-bit little-endian floats, frame by frame.
        channels: number of values of a frame.
        gain: the factor from the decoded latents to the track's samples.
    """

    model_config = _BYTES_AS_BASE64

    values: bytes
    channels: PositiveInt
    gain: float


class Audio(BaseModel):
    """A recording, at the model's sample rate and channels.

    Attributes:
        flac: a FLAC file.
        sha256: identifies the content, as a key of caches.
        latents: those of the recording without silence around it, if they were kept.
    """

    model_config = _BYTES_AS_BASE64

    flac: bytes
    sha256: str
    latents: LatentsMessage | None = None


class EditRequest(BaseModel):
    """A task that starts from a source recording: see `models.base.Edit`."""

    task: Task
    source: Audio
    start: float
    end: float
    before: float = 0.0
    strength: float = 1.0
    noise_strength: float | None = None
    injected_share: float = 0.5
    tracks: tuple[TrackName, ...] = ()


class TrackRequest(BaseModel):
    """A request for a track, or for several takes of it, each of which becomes a row of a batch.

    Attributes:
        text: what to play.
        seconds: duration.
        options: how it is sampled.
        timeout: seconds after which the runner gives the track up.
        adapters: empty for the base model.
        lora_scales: factors on the adapters' strengths for each kind of layers.
        queue_key: the name by which `Runner.queue_position` finds the track.
        edit: the task and its source; None for text alone.
        reference: audio whose timbre the track follows.
        keep_latents: answer the track's latents as well.
        sample_format: of the answer; a stream has 32-bit floats.
        takes: the number of tracks, of which each has a seed that is one higher than the last.
    """

    text: Text
    seconds: float
    options: SamplingOptions
    timeout: float
    adapters: list[AdapterRef] = []
    lora_scales: LoraScales | None = None
    queue_key: str = ""
    edit: EditRequest | None = None
    reference: Audio | None = None
    keep_latents: bool = False
    sample_format: PcmFormat = "int16"
    takes: int = 1


class FailedTake(BaseModel):
    """The error of a take, while others were made."""

    error: str
    status: int


class TrackAnswer(BaseModel):
    """A track, or the error in its place.

    Attributes:
        pcm: little-endian samples, interleaved.
        sample_format: of `pcm`; floats have a full scale of ±1.
        other_takes: the same of the takes after the first.
        failed_takes: of several takes, the errors of those that failed, by their numbers from 0. They have no samples.
        sample_rate: in Hz.
        channels: 1 or 2.
        error: the message for the client.
        status: the HTTP status of the error.
        wait: seconds after which the client should try again, if known.
        latents: the track's, if the request asked for them.
    """

    model_config = _BYTES_AS_BASE64

    pcm: bytes = b""
    sample_format: PcmFormat = "int16"
    other_takes: list[bytes] = []
    failed_takes: dict[int, FailedTake] = {}
    sample_rate: int = 0
    channels: int = 0
    latents: LatentsMessage | None = None
    other_latents: list[LatentsMessage | None] = []
    error: str | None = None
    status: int = 200
    wait: int | None = None

    @property
    def takes(self) -> list[TrackAnswer]:
        """Each take as a track of its own, or the error in its place."""
        pcms = (self.pcm, *self.other_takes)
        latents = (self.latents, *self.other_latents) if self.other_latents else [self.latents] * len(pcms)
        alone: dict[str, Any] = {"other_takes": [], "other_latents": [], "failed_takes": {}}
        takes = [
            self.model_copy(update=alone | {"pcm": pcm, "latents": own}) for pcm, own in zip(pcms, latents, strict=True)
        ]
        for number, failed in self.failed_takes.items():
            takes[number] = TrackAnswer(error=failed.error, status=failed.status)
        return takes

    @property
    def seconds(self) -> float:
        """The duration of the first take that has samples."""
        made = self.pcm or next(filter(None, self.other_takes), b"")
        return len(made) / (PCM_BYTES[self.sample_format] * self.channels * self.sample_rate)


class QueuePosition(BaseModel):
    """Where a track is in a runner.

    Attributes:
        state: `None` if the runner does not have the track.
        ahead: see `runners.eta.Eta`.
        progress: see `runners.eta.Eta`.
        seconds_left: see `runners.eta.Eta`.
    """

    state: Literal["preparing", "waiting", "making", "finishing"] | None = None
    ahead: int | None = None
    progress: float | None = None
    seconds_left: float | None = None


class RunnerState(BaseModel):
    """Whether a runner can serve, and the facts about its model.

    Attributes:
        ready: it can serve.
        answered: the state is from the runner itself, not its client's guess.
        loading: its model is still being loaded.
        progress: of the loading, where it is known.
        reason: why it is not ready, in one line.
        checkpoint: as configured.
        base_sha256: the checkpoint's digest; known when ready.
        sample_rate: in Hz; known when ready.
        channels: known when ready.
        largest_adapter: the maximum size in bytes of an adapter file for the model; known when ready.
        tasks: those that the checkpoint can do; known when ready.
        takes_reference: whether tracks may follow a reference recording; known when ready.
        keeps_latents: whether it can answer tracks' latents; known when ready.
        streams: whether it can send a track while it is made; known when ready.
    """

    ready: bool
    answered: bool = True
    loading: bool = False
    progress: BackendLoading | None = None
    reason: str | None
    checkpoint: str
    base_sha256: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    largest_adapter: int | None = None
    tasks: list[Task] = []
    takes_reference: bool = False
    keeps_latents: bool = False
    streams: bool = False


class ConvertRequest(BaseModel):
    """An adapter file that another tool wrote, and the name that it is to have here.

    Attributes:
        data: the file.
        config: its `adapter_config.json`, if it came with one.
        producer_id: the owner.
        model_name: the twin's name.
    """

    model_config = _BYTES_AS_BASE64

    data: bytes
    config: bytes | None = None
    producer_id: str
    model_name: str


class ConvertAnswer(BaseModel):
    """The converted adapter file, or the error in its place.

    Attributes:
        data: the file in our format.
        notes: remarks for the client.
        error: the message for the client.
        status: the HTTP status of the error.
    """

    model_config = _BYTES_AS_BASE64

    data: bytes = b""
    notes: list[str] = []
    error: str | None = None
    status: int = 200
