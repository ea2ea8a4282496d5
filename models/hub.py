"""Downloads checkpoints from the Hugging Face hub."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import CheckpointError
from models.loading import Loading
from models.local_cache import check_disk

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

# Weights, configurations and tokenizers; a hub repository may hold other formats of the same weights.
_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
# ACE-Step's language models, which write lyrics and plans, are larger than the rest of its repository.
_UNUSED = ("acestep-5Hz-lm*",)

log = logging.getLogger("producer_twin.checkpoints")


def download(
    name: str, token: str | None = None, files: Sequence[str] = _FILES, loading: Loading | None = None
) -> Path:
    """Download a snapshot unless it is there, and return its folder, which is named by its commit.

    Args:
        name: `<hub id>[@revision]`.
        token: access token of the hub; by default the one of the environment.
        files: patterns of the files that are wanted.
        loading: is told the progress.

    Raises:
        CheckpointError: the hub does not serve it, or the disk is too full.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import LocalEntryNotFoundError
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils._paths import filter_repo_objects

    repo, _, given = name.partition("@")
    revision, patterns, unused = given or None, list(files), list(_UNUSED)
    try:
        try:
            folder = snapshot_download(
                repo,
                revision=revision,
                allow_patterns=patterns,
                ignore_patterns=unused,
                token=token,
                local_files_only=True,
            )
        except LocalEntryNotFoundError:
            info = HfApi(token=token).model_info(repo, revision=revision, files_metadata=True)
            wanted = filter_repo_objects(
                info.siblings or [], allow_patterns=patterns, ignore_patterns=unused, key=lambda file: file.rfilename
            )
            # The contents of files by digest, whichever revisions they are in.
            blobs = Path(HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type="model") / "blobs"
            missing = sum(file.size or 0 for file in wanted if not (blobs / _digest(file)).exists())
            _check_disk(name, missing, Path(HF_HUB_CACHE))
            had = _size(blobs)
            if loading:
                loading.begin("downloading", missing, lambda: _size(blobs) - had)
            log.info("downloading %s (files of an interrupted download are kept)", name)
            folder = snapshot_download(
                repo, revision=revision, allow_patterns=patterns, ignore_patterns=unused, token=token
            )
    except CheckpointError:
        raise
    except Exception as error:  # the hub's client, its HTTP library and the disk raise different types
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{name}: the hub did not serve it: {reason}") from error
    return Path(folder)


def _check_disk(name: str, needed: int, cache: Path) -> None:
    try:
        check_disk(needed, cache, "HF_HOME")
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error}") from error


def _digest(file: RepoSibling) -> str:
    """The name that the hub's client gives to a file's contents."""
    return str(file.lfs.sha256 if file.lfs else file.blob_id)


def _size(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a download renames its files
            size += 0 if path.is_symlink() or not path.is_file() else path.stat().st_size
    return size
