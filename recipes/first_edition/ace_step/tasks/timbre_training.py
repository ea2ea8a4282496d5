"""Train the timbre encoder to name the instruments that it hears, before the transformer learns to follow it.

Trained with the transformer alone it learned little: after 2,500 steps of all tasks a track was nearest to its own
reference, of four, in .48 of the cases, and without a reference in .45.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ....synthesiser import GENRES, Song
from ....synthesiser.drums import KITS
from ....synthesiser.instruments import VOICES
from ...clips import VALIDATION_CLIPS, Library
from ...data import TRAINING
from ...precision import autocast
from ...state import Checkpoints
from ...training import Training, load_average, start_over
from ..architecture import TEXT_WIDTH, LatentShape
from .model import TaskStarter
from .pieces import Piece, load_piece
from .timbre import reference_of, timbre_token
from .training import STATE, begin

RATE = 1e-3
REFERENCES_PER_STEP = 8
SILENCE_WEIGHT = 1.0
"""Weight of what keeps the token of silence, which text-to-music without a reference knows."""
REPORT_EVERY = 50
LABELS = (*GENRES, *VOICES, "drums", *(f"kit {kit}" for kit in range(KITS)))


class TimbreNamer(nn.Module):
    """The timbre encoder and a layer that tells a song's labels from its token."""

    def __init__(self, starter: TaskStarter) -> None:
        super().__init__()
        self.encoder = starter.condition_encoder.timbre_encoder
        self.labels = nn.Linear(TEXT_WIDTH, len(LABELS))

    def forward(self, references: torch.Tensor) -> torch.Tensor:
        """Logits `[B, len(LABELS)]` of references `[B, T, channels]`."""
        return self.labels(timbre_token(self.encoder, references)[:, 0])


def train_timbre(runs: Path, steps: int, device: str, starter: TaskStarter | None = None) -> None:
    """Train to `steps` steps in total, then start the tasks' training from it; resumes from `runs/timbre.pt`.

    Args:
        starter: default: that of the first edition.
    """
    torch.manual_seed(0)
    starter = (starter or TaskStarter()).to(device)
    begin(runs, starter)
    state = Checkpoints(runs / STATE).load()
    if state is None or state["step"]:
        raise FileExistsError(f"{runs / STATE}: the tasks are in training; train the timbre encoder before them")
    starter.load_state_dict(state["average"])
    silence = starter.silence_reference
    with torch.no_grad():
        kept = timbre_token(starter.condition_encoder.timbre_encoder, silence)
    namer, shape = TimbreNamer(starter).to(device).train(), starter.shape
    training = Training(namer, runs / "timbre.pt", RATE, steps)
    library = Library(runs / "pieces", load_piece)
    for step in range(training.first, steps):
        rng = np.random.default_rng([TRAINING, 10, step])
        pieces = library.clips[VALIDATION_CLIPS:]
        drawn = [pieces[rng.integers(len(pieces))] for _ in range(REFERENCES_PER_STEP)]
        with autocast(device):
            loss = _loss(namer, drawn, rng, shape)
            moved = (timbre_token(namer.encoder, silence) - kept).square().mean()
        training.step(step, loss + SILENCE_WEIGHT * moved)
        if step % REPORT_EVERY == REPORT_EVERY - 1:
            with training:
                found = {"step": step + 1, "silence moved": round(moved.item(), 4), **validation(namer, library, shape)}
                print(json.dumps(found), flush=True)
    load_average(namer, runs / "timbre.pt")
    (runs / STATE).unlink()
    start_over(runs / STATE, starter)


def _loss(namer: TimbreNamer, pieces: list[Piece], rng: np.random.Generator, shape: LatentShape) -> torch.Tensor:
    device = namer.labels.weight.device
    turned = [torch.roll(piece.frames.float(), int(rng.integers(len(piece.frames))), 0) for piece in pieces]
    references = torch.stack([reference_of(frames, shape) for frames in turned]).to(device)
    wanted = torch.stack([labels(piece.song) for piece in pieces]).to(device)
    return F.binary_cross_entropy_with_logits(namer(references).float(), wanted)


def labels(song: Song) -> torch.Tensor:
    """1 for the genre, the instruments, and the drum kit of a song, `[len(LABELS)]`."""
    names = {song.genre, song.bass, song.chord, song.melody}
    if song.drums:
        names |= {"drums", f"kit {song.kit}"}
    return torch.tensor([float(name in names) for name in LABELS])


@torch.no_grad()
def validation(namer: TimbreNamer, library: Library[Piece], shape: LatentShape) -> dict[str, float]:
    """On the validation pieces: the loss, that of knowing only how frequent each label is, and genres named rightly."""
    pieces = library.clips[:VALIDATION_CLIPS]
    device = namer.labels.weight.device
    wanted = torch.stack([labels(piece.song) for piece in pieces])
    references = [reference_of(piece.frames, shape).float()[None].to(device) for piece in pieces]
    logits = torch.cat([namer(reference).cpu() for reference in references])
    frequent = wanted.mean(0).clamp(0.01, 0.99).expand_as(wanted)
    genres = logits[:, : len(GENRES)].argmax(1) == wanted[:, : len(GENRES)].argmax(1)
    return {
        "loss": round(float(F.binary_cross_entropy_with_logits(logits, wanted)), 4),
        "loss of frequencies": round(float(F.binary_cross_entropy(frequent, wanted)), 4),
        "genres": round(float(genres.float().mean()), 3),
    }
