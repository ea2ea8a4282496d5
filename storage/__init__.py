"""Storage of uploads, datasets, jobs, adapters and tracks: a local folder or S3, which behave alike.

A *key* is a path without a leading slash (`uploads/p/j/beat.wav`); clients know it as `/data/<key>`. The module `keys`
has a function for every key. An object appears whole or not at all.

    storage = open_storage("file:///srv/twin")
    storage.put(keys.lora("p", "m"), data, if_absent=True)
"""

from storage.base import AlreadyExists, BadKey, Changed, Damaged, Entry, NotFound, Storage, Unavailable, digest_of
from storage.factory import open_storage

__all__ = [
    "AlreadyExists",
    "BadKey",
    "Changed",
    "Damaged",
    "Entry",
    "NotFound",
    "Storage",
    "Unavailable",
    "digest_of",
    "open_storage",
]
