"""Prepares a request's edit and reference for the runner."""

from __future__ import annotations

import io
from dataclasses import dataclass

from contract import KEEPS_SOURCE, GenerateRequest
from core.errors import Refusal
from core.settings import Settings
from generation.editing.recordings import Recording, Recordings, Sent, Source
from generation.editing.windows import Window, window_of
from preprocessing.recording import Target
from runners import Backend
from runners.messages import EditRequest, RunnerState

MAX_REFERENCE_SECONDS = 600.0


@dataclass(frozen=True)
class Edit:
    """An edit that is ready for the runner.

    Attributes:
        source: the recording to edit.
        window: the part of the track that is made anew.
        request: for the runner.
    """

    source: Source
    window: Window
    request: EditRequest

    @property
    def keeps_outside(self) -> bool:
        """Whether the source outside the window stays as it is."""
        return self.request.task in KEEPS_SOURCE


async def prepare_edit(
    request: GenerateRequest,
    sent: io.FileIO | None,
    recordings: Recordings,
    backend: Backend,
    state: RunnerState,
    settings: Settings,
) -> Edit:
    """Decode the request's source, and find its window.

    Raises:
        Refusal: 400, 403, 404, 507.
    """
    longest = backend.longest(settings)
    before, after = request.before or 0.0, request.after or 0.0
    if before + after >= longest:
        field = "before" if before else "after"
        raise Refusal(400, f"{field}: {backend.name} makes tracks of at most {longest:g} s; ask for less")
    target = Target(*_form(state), longest - before - after, before, after)
    source = await recordings.source(request.source, sent, target, state.base_sha256)
    window = window_of(request, source.seconds)
    shares = {"strength": request.strength, "noise_strength": request.noise_strength}
    injected = settings.repaint_injected_share if request.injected_share is None else request.injected_share
    edit = EditRequest(
        task=request.task,
        source=source.audio,
        start=window.start,
        end=window.end,
        before=window.before,
        injected_share=injected,
        tracks=tuple(request.tracks or ()),
        **{name: share for name, share in shares.items() if share is not None},
    )
    return Edit(source, window, edit)


async def prepare_reference(
    request: GenerateRequest, sent: Sent, recordings: Recordings, state: RunnerState
) -> Recording | None:
    """Decode the recording that the track follows, if there is one. Raises Refusal: 400, 404, 507."""
    if request.reference is None and sent.reference is None:
        return None
    target = Target(*_form(state), MAX_REFERENCE_SECONDS, excerpt=True)
    return await recordings.reference(request.reference, sent.reference, target)


def _form(state: RunnerState) -> tuple[int, int]:
    """The model's sample rate and channels, which are known when the runner is ready."""
    assert state.sample_rate and state.channels
    return state.sample_rate, state.channels
