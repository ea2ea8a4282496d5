"""Whether a backend's checkpoint can do what a request asks for, and which checkpoints can."""

from __future__ import annotations

from collections.abc import Mapping

from contract import GenerateRequest, Task
from core.errors import Refusal
from runners import Backend
from runners.messages import RunnerState

_TURBO, _BASE = "ACE-Step/Ace-Step1.5", "ACE-Step/acestep-v15-base"
# Public checkpoints for each task, by the setting that names them.
CHECKPOINTS: Mapping[Task, str] = {
    "repaint": f"ACE_STEP_MODEL={_TURBO} or {_BASE}",
    "extend": f"ACE_STEP_MODEL={_TURBO} or {_BASE}, MUSICGEN_MODEL=facebook/musicgen-small",
    "cover": f"ACE_STEP_MODEL={_TURBO} or {_BASE}",
    "complete": f"ACE_STEP_MODEL={_BASE}",
    "lego": f"ACE_STEP_MODEL={_BASE}",
    "extract": f"ACE_STEP_MODEL={_BASE}",
    "melody": "MUSICGEN_MODEL=facebook/musicgen-melody",
}
_WITH_REFERENCE = CHECKPOINTS["cover"]


def check(request: GenerateRequest, has_reference: bool, chosen: Backend, states: Mapping[str, RunnerState]) -> None:
    """Refuse a task or a reference that the chosen backend's checkpoint cannot do.

    Args:
        states: of all enabled backends, by name.

    Raises:
        Refusal: 409; it names a backend of this service, or checkpoints, that can.
    """
    state = states[chosen.name]
    if request.task != "text" and request.task not in state.tasks:
        able = [name for name, other in states.items() if other.ready and request.task in other.tasks]
        raise Refusal(409, _cannot("task", f"do {request.task}", chosen, state, able, CHECKPOINTS[request.task]))
    if has_reference and not state.takes_reference:
        able = [name for name, other in states.items() if other.ready and other.takes_reference]
        raise Refusal(409, _cannot("reference", "follow one", chosen, state, able, _WITH_REFERENCE))


def _cannot(field: str, what: str, chosen: Backend, state: RunnerState, able: list[str], checkpoints: str) -> str:
    remedy = f"send backend_override: {' or '.join(able)}" if able else f"checkpoints that can: {checkpoints}"
    return f"{field}: {chosen.name} cannot {what} with its checkpoint {state.checkpoint}; {remedy}"
