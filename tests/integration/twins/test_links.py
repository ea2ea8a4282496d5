"""Tracks as links."""

from __future__ import annotations

import io

import numpy as np
import soundfile

from tests.api import Api, Json, decoded, error_of


def test_a_track_as_a_link(api: Api) -> None:
    body: Json = {"prompt": "dark trap", "duration_seconds": 2, "seed": 7}
    made = api.post("/generate", **body, response="url")
    assert made["url"] == made["output_path"] and "audio_base64" not in made
    whole = api.client.get(made["url"])
    assert whole.headers["content-type"] == "audio/wav" and whole.headers["accept-ranges"] == "bytes"
    assert np.array_equal(decoded(whole.content)[0], api.generate())
    part = api.client.get(made["url"], headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
    error_of(api.client.get(made["url"], headers={"range": f"bytes={len(whole.content)}-"}), 416)
    assert api.client.head(made["url"]).headers["content-length"] == str(len(whole.content))
    opus = api.post("/generate", **body, response="url", output_format="opus")
    fetched = api.client.get(opus["url"])
    assert fetched.headers["content-type"] == "audio/ogg"
    assert soundfile.info(io.BytesIO(fetched.content)).subtype == "OPUS"


def test_only_tracks_are_served(api: Api, versions: list[str]) -> None:
    secret = "loras/keeper_two.safetensors"
    assert api.file(f"/data/{secret}").is_file()
    for path in (f"/data/{secret}", f"/data/outputs/../{secret}", f"/data/outputs/%2e%2e/{secret}"):
        error_of(api.client.get(path), 404)
