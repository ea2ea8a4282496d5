"""Serving: the runner table with a row for each backend, and what runs their models."""

from core.asgi.cancel_on_disconnect import CancelOnDisconnect
from core.asgi.graceful_shutdown import GracefulShutdown
from core.settings import settings
from runners.ace_step import AceStepRunner
from runners.musicgen import MusicGenRunner
from runners.table import Backend, Table

TABLE = Table()

TABLE.register(
    Backend(
        name="ace_step",
        service=AceStepRunner,
        model="models.ace_step:AceStep",
        trainer="training.ace_step:AceStepTrainer",
        tiny="models.tiny.ace_step:build",
        checkpoint="ace_step_model",
        max_seconds=600.0,
        licence="MIT",
        commercial_use=True,
        training_steps_per_second=2.5,
    )
)
TABLE.register(
    Backend(
        name="musicgen",
        service=MusicGenRunner,
        model="models.musicgen:MusicGen",
        trainer="training.musicgen:MusicGenTrainer",
        tiny="models.tiny.musicgen:build",
        checkpoint="musicgen_model",
        max_seconds=300.0,
        licence="CC-BY-NC-4.0",
        commercial_use=False,
        # Half as many as for ACE-Step, since MusicGen overfits sooner: the starter's twins lost the style with twice as
        # many.
        training_steps_per_second=1.25,
    )
)

_CANCELLED = ("/generate", "/stream")
for _row in TABLE:
    _row.service.add_asgi_middleware(GracefulShutdown, seconds=settings().stop_seconds, behind=True)
    _row.service.add_asgi_middleware(CancelOnDisconnect, applies=lambda scope: scope["path"] in _CANCELLED)

__all__ = ["TABLE", "Backend"]
