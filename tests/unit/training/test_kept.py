"""What later jobs find: pieces of the base model, and measurements of music."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from adapters.weights import LoraPair
from models.base import Row, Text
from training.evaluation import listening
from training.evaluation.listening import listen
from training.evaluation.sampling import play, play_base
from training.kept import file_of, read, write

RATE = 8_000


class Player:
    """A model whose pieces depend on the prompt and the seed, and which tells what it played."""

    def __init__(self) -> None:
        self.played: list[str] = []

    def generate(self, rows: Sequence[Row]) -> list[NDArray[np.float32]]:
        self.played += [row.text.prompt for row in rows]
        return [np.full((1, 4), len(row.text.prompt) + row.options.seed / 10, np.float32) for row in rows]


def _played(player: Player, folder: Path | None, *prompts: str, seconds: float = 1.0) -> list[float]:
    model: Any = SimpleNamespace(backend="toy", sample_rate=RATE, generate=player.generate)
    texts = [Text(prompt) for prompt in prompts]
    pieces = play_base(model, texts, seconds, folder)
    assert all(np.array_equal(*pair) for pair in zip(pieces, play(model, texts, seconds), strict=True))
    del player.played[-len(prompts) :]
    return [float(piece.mean()) for piece in pieces]


def test_a_piece_of_the_base_model_is_made_once(tmp_path: Path) -> None:
    player = Player()
    first = _played(player, tmp_path, "trap", "ambient", "trap")
    assert player.played == ["trap", "ambient", "trap"] and first[0] != first[2], "of two seeds"
    assert _played(player, tmp_path, "trap", "ambient", "trap") == first and len(player.played) == 3
    _played(player, tmp_path, "trap", "house")
    assert player.played[3:] == ["house"]
    _played(player, tmp_path, "trap", seconds=2.0)
    assert player.played[4:] == ["trap"]
    _played(player, None, "trap")
    assert player.played[5:] == ["trap"], "nothing is kept without a folder"


def test_a_piece_of_a_twin_is_not_made_again() -> None:
    """As that of the last preview, which the evaluation compares if the twin was not changed since."""
    player = Player()
    model: Any = SimpleNamespace(backend="toy", sample_rate=RATE, generate=player.generate)
    texts, known = [Text("trap"), Text("ambient")], dict[str, NDArray[np.float32]]()
    pairs = {"layer": LoraPair(torch.ones(4, 2), torch.ones(2, 4))}
    first = play(model, texts[:1], 1.0, pairs, played=known)
    both = play(model, texts, 1.0, pairs, played=known)
    assert player.played == ["trap", "ambient"] and np.array_equal(first[0], both[0])
    assert np.array_equal(both, play(model, texts, 1.0, pairs))
    del player.played[:]
    changed = {"layer": LoraPair(torch.ones(4, 2), 0.5 * torch.ones(2, 4))}
    play(model, texts, 1.0, changed, played=known)
    play(model, texts, 1.0, played=known)
    play(model, texts, 2.0, pairs, played=known)
    assert player.played == ["trap", "ambient"] * 3


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"not an array"])
def test_a_damaged_piece_is_made_again(tmp_path: Path, damage: bytes) -> None:
    player = Player()
    first = _played(player, tmp_path, "trap")
    (file,) = tmp_path.glob("*.npy")
    file.write_bytes(damage)
    assert _played(player, tmp_path, "trap") == first and player.played == ["trap", "trap"]
    assert _played(player, tmp_path, "trap") == first and len(player.played) == 2


def test_music_is_measured_once_for_its_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []

    def embed(audio: NDArray[np.float32], rate: int, network: str) -> NDArray[np.float32]:
        measured.append(len(audio))
        return np.random.default_rng(len(measured)).normal(size=(2, 200)).astype(np.float32)

    monkeypatch.setattr(listening, "embed", embed)
    audio = np.random.default_rng(0).normal(0, 0.1, 3 * RATE).astype(np.float32)
    first = listen(audio, RATE, "one", folder=tmp_path)
    again = listen(audio.copy(), RATE, "two", "song", folder=tmp_path)
    assert len(measured) == 1 and (again.source, again.song) == ("two", "song")
    assert np.array_equal(first.embedding, again.embedding) and first.embedding.dtype == again.embedding.dtype
    assert (first.pulse, first.persistence) == (again.pulse, again.persistence)
    listen(audio[::-1], RATE, "backwards", folder=tmp_path)
    listen(audio, 2 * RATE, "faster", folder=tmp_path)
    listen(audio, RATE, "the other network", network="mtt", folder=tmp_path)
    assert len(measured) == 4
    listen(audio, RATE, "one")
    assert len(measured) == 5, "nothing is kept without a folder"


def test_a_result_that_cannot_be_kept_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "no folder").touch()
    file = file_of(tmp_path / "no folder", "anything")
    write(file, np.ones(1))
    assert read(file) is None
