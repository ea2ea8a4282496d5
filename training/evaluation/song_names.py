"""Names of songs for people: never paths or ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from preprocessing.captions import clean, stated_title


def song_names(files: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for each file of a dataset's record: the client's title, the title inside the file, or the file's name.

    Names that several files share are numbered.
    """
    names = [_name(file) or f"song {number}" for number, file in enumerate(files, 1)]
    seen = Counter[str]()
    shared = {name for name, count in Counter(names).items() if count > 1}
    numbered = []
    for name in names:
        seen[name] += 1
        numbered.append(f"{name} ({seen[name]})" if name in shared else name)
    return numbered


def file_name(source: str) -> str:
    """The name of a file without folders and extension, from its path or URL."""
    return clean(PurePosixPath(unquote(source.rstrip("/").rpartition("/")[2])).stem)


def _name(file: Mapping[str, Any]) -> str:
    embedded = (file.get("embedded") or {}).get("title") or ""
    return stated_title(file.get("metadata") or {}) or clean(embedded) or file_name(file["source"])
