"""Resolves `ACE_STEP_MODEL` and `MUSICGEN_MODEL` to a folder of weights."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models import hub
from models.digests import file_digest
from models.errors import CheckpointError
from models.loading import Loading
from models.local_cache import build_once, cache_folder
from models.weight_files import weight_files

__all__ = ["STARTER", "Checkpoint", "CheckpointError", "cache_folder", "resolve"]

STARTER = "starter"
# A checkpoint's traits (models/traits.py). The authors' checkpoints have no such file.
TRAITS_FILE = "producer_twin.json"
_STARTERS = Path(__file__).parent / "starter"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this machine.

    Attributes:
        name: as configured.
        folder: its files, as they were published.
        sha256: identifies the weights; an adapter is used only with the checkpoint that it was trained on.
        from_hub: `name` is a hub id.
    """

    name: str
    folder: Path
    sha256: str
    from_hub: bool = False

    @property
    def weight_bytes(self) -> int:
        """The size of its weights."""
        return sum(path.stat().st_size for path in weight_files(self.folder))


def resolve(
    name: str,
    backend: str,
    build_tiny: Callable[[Path], None],
    token: str | None = None,
    loading: Loading | None = None,
) -> Checkpoint:
    """Find, build or download the checkpoint `name` for `backend`.

    Args:
        name: `starter`, a folder, or `<hub id>[@revision]`.
        build_tiny: writes a tiny checkpoint with fixed random weights into a folder. It is used as the starter of a
            backend for which none ships.
        token: access token of the Hugging Face hub.
        loading: is told the progress.

    Raises:
        CheckpointError: the checkpoint cannot be found or downloaded.
    """
    loading = loading or Loading()
    if name == STARTER:
        shipped = _STARTERS / backend
        folder = shipped if shipped.is_dir() else _built(backend, build_tiny)
        return Checkpoint(name, folder, _digest(folder, loading))
    if name.startswith((".", "/", "~")) or Path(name).exists():
        folder = Path(name).expanduser().resolve()
        if folder.is_file():
            raise CheckpointError(
                f"{name}: it is a file; name the folder of a checkpoint (checkpoints in one file, such as ComfyUI's, "
                "and GGUF are not read)"
            )
        if not folder.is_dir():
            raise CheckpointError(f"{name}: there is no such folder")
        return Checkpoint(name, folder, _digest(folder, loading))
    folder = hub.download(name, token, loading=loading)
    # A snapshot's folder is named by its commit, which identifies its contents.
    digest = hashlib.sha256(f"{name.partition('@')[0]}@{folder.name}".encode()).hexdigest()
    return Checkpoint(name, folder, digest, from_hub=True)


def _built(backend: str, build: Callable[[Path], None]) -> Path:
    """The folder of the tiny checkpoint."""
    source = Path(inspect.getfile(build)).read_bytes()
    return build_once(cache_folder() / "tiny" / f"{backend}-{hashlib.sha256(source).hexdigest()[:12]}", build)


def _digest(folder: Path, loading: Loading) -> str:
    # Folders of diffusers' converter have a copy of the silence latent that is not read.
    names = () if (folder / "model_index.json").exists() else ("silence_latent.pt",)
    # Traits are no part of the model: twins of a checkpoint remain valid when they are added or corrected.
    others = [
        path
        for path in folder.rglob("*")
        if path.name in names or (path.suffix == ".json" and path.name != TRAITS_FILE)
    ]
    paths = sorted([*weight_files(folder), *others])
    done = 0
    loading.begin("checking", sum(path.stat().st_size for path in paths), lambda: done)
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(file_digest(path, cache_folder() / "digests"))
        done += path.stat().st_size
    return digest.hexdigest()
