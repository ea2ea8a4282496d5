"""ACE-Step's API: a client that was written for it gets its tracks here, by the requests that its pages describe."""

from __future__ import annotations

import base64
import io
import json
import time
from typing import Any

import httpx
import pytest
import soundfile

from tests.api import PATIENCE, Api, beat
from tests.conftest import IS_WEB

SHORT = {"audio_duration": 2, "inference_steps": 2}


class PollingClient:
    """Releases a task, polls until it has ended, and fetches its files."""

    def __init__(self, api: Api, **headers: str) -> None:
        self.http = httpx.Client(base_url=f"{api.server.url}/acestep", headers=headers, trust_env=False, timeout=60)

    def data(self, answer: httpx.Response) -> Any:
        assert answer.status_code == 200, answer.text
        document = answer.json()
        assert document.keys() == {"data", "code", "error", "timestamp", "extra"}
        assert (document["code"], document["error"]) == (200, None)
        assert abs(document["timestamp"] / 1000 - time.time()) < 60
        return document["data"]

    def ended(self, released: Any) -> dict[str, Any]:
        assert released["status"] == "queued" and released["queue_position"] >= 1
        end = time.monotonic() + PATIENCE
        while True:
            (row,) = self.data(self.http.post("/query_result", json={"task_id_list": [released["task_id"]]}))
            if row["status"]:
                assert row["task_id"] == released["task_id"]
                return row | {"result": json.loads(row["result"])}
            assert time.monotonic() < end
            time.sleep(0.2)

    def files(self, row: dict[str, Any]) -> list[bytes]:
        assert row["status"] == 1, row
        return [self.http.get(f"{self.http.base_url}{each['file'].lstrip('/')}").content for each in row["result"]]


@pytest.fixture(scope="module")
def client(api: Api) -> PollingClient:
    return PollingClient(api)


def test_a_basic_request(client: PollingClient) -> None:
    body = {"prompt": "upbeat pop song", "lyrics": "Hello world"} | SHORT
    row = client.ended(client.data(client.http.post("/release_task", json=body)))
    files = client.files(row)
    assert len(files) == 2 and files[0] != files[1]
    for file in files:
        assert soundfile.info(io.BytesIO(file)).format == "MP3"
    first = row["result"][0]
    assert (first["prompt"], first["lyrics"], first["status"]) == ("upbeat pop song", "Hello world", 1)
    assert len(first["seed_value"].split(",")) == 2 and first["dit_model"]


def test_a_batch_of_four_as_a_form_with_metas(client: PollingClient) -> None:
    form = {
        "caption": "jazz piano trio",
        "batch_size": "4",
        "use_random_seed": "false",
        "seed": "7",
        "audio_format": "wav",
        "thinking": "true",
        "inferenceSteps": "2",
        "metas": json.dumps({"bpm": 120, "duration": 2, "keyscale": "C Major", "timesignature": "4"}),
    }
    for sent in ({"data": form}, {"files": {name: (None, value) for name, value in form.items()}}):
        answer = client.http.post("/release_task", **sent)  # type: ignore[arg-type]
        assert "language model" in answer.json()["extra"]["ignored"]["thinking"]
        row = client.ended(client.data(answer))
        files = client.files(row)
        assert len(files) == 4 and row["result"][0]["seed_value"] == "7,8,9,10"
        assert row["result"][0]["metas"]["keyscale"] == "C major" and row["result"][0]["metas"]["bpm"] == 120
        assert soundfile.info(io.BytesIO(files[0])).duration == pytest.approx(2, abs=0.1)


def test_a_track_is_that_of_generate(client: PollingClient, api: Api) -> None:
    body = {"prompt": "dark trap", "batch_size": 1, "seed": 7, "use_random_seed": False, "audio_format": "wav"} | SHORT
    (file,) = client.files(client.ended(client.data(client.http.post("/release_task", json=body))))
    made = api.generate(prompt="dark trap", duration_seconds=2, steps=2, seed=7)
    assert (soundfile.read(io.BytesIO(file), always_2d=True)[0] == made).all()


@pytest.mark.long
def test_a_twin_by_a_field_and_by_the_models_name(client: PollingClient, api: Api) -> None:
    path = api.upload("acestep", beat(12), filename="beat.wav")
    api.post("/train", producer_id="acestep", model_name="night", upload_paths=[path], max_steps=2)
    found = client.data(client.http.get("/v1/models"))
    name = next(row["name"] for row in found["models"] if row["name"].endswith("+acestep:night"))
    assert found["default_model"] in [row["name"] for row in found["models"] if row["is_default"]]
    body = {"prompt": "dark trap", "batch_size": 1, "seed": 7, "use_random_seed": False, "audio_format": "wav"} | SHORT
    tracks = [
        client.files(client.ended(client.data(client.http.post("/release_task", json=body | twin))))[0]
        for twin in ({}, {"lora_id": "acestep:night"}, {"model": name})
    ]
    samples = [soundfile.read(io.BytesIO(track))[0] for track in tracks]
    assert (samples[1] == samples[2]).all() and (samples[0] != samples[1]).any()


def test_repaint_with_an_uploaded_file(client: PollingClient) -> None:
    song = beat(3, rate=44_100)
    form = {
        "prompt": "drum fill",
        "task_type": "repaint",
        "repainting_start": "1",
        "repainting_end": "2",
        "batch_size": "2",
        "audio_format": "wav",
        "inference_steps": "2",
        "audio_duration": "-1",
    }
    answer = client.http.post("/release_task", data=form, files={"ctx_audio": ("song.wav", song)})
    row = client.ended(client.data(answer))
    own = soundfile.read(io.BytesIO(song), dtype="int16")[0]
    files = client.files(row)
    assert len(files) == 2 and files[0] != files[1] and answer.json()["extra"] is None
    for file in files:
        samples, rate = soundfile.read(io.BytesIO(file), dtype="int16")
        assert rate == 44_100 and samples.shape == own.shape
        assert (samples[:rate] == own[:rate]).all() and (samples[2 * rate :] == own[2 * rate :]).all()
        assert (samples[rate : 2 * rate] != own[rate : 2 * rate]).any()


def test_a_cover_of_a_track_after_another_recording(client: PollingClient, api: Api) -> None:
    body = {"prompt": "dark trap", "batch_size": 1, "audio_format": "wav"}
    first = client.ended(client.data(client.http.post("/release_task", json=body | SHORT)))
    track = first["result"][0]["file"]  # the URL that was answered
    other = api.upload("acestep_reference", beat(2), filename="beat.wav")
    wanted = {
        "task_type": "cover",
        "src_audio_path": track,
        "reference_audio_path": other,
        "audio_cover_strength": 0.5,
        "inference_steps": 2,
    }
    row = client.ended(client.data(client.http.post("/release_task", json=body | wanted)))
    (file,) = client.files(row)
    assert soundfile.info(io.BytesIO(file)).duration == pytest.approx(2, abs=0.1)


def test_a_task_that_the_model_cannot_do_fails_with_the_reason(client: PollingClient) -> None:
    form = {"prompt": "x", "task_type": "repaint", "model": "musicgen"}
    answer = client.http.post("/release_task", data=form, files={"src_audio": ("song.wav", beat(1))})
    row = client.ended(client.data(answer))
    assert row["status"] == 2 and row["result"][0]["error"].startswith("task_type: musicgen cannot do repaint")
    form["model"] = "ace_step"
    answer = client.http.post("/release_task", data=form, files={"src_audio": ("song.wav", b"no music")})
    row = client.ended(client.data(answer))
    assert row["status"] == 2 and row["result"][0]["error"].startswith("src_audio_path: ")


CHAT = {
    "model": "acestep/x",
    "messages": [{"role": "user", "content": "<prompt>dark trap</prompt><lyrics>Hello world</lyrics>"}],
    "audio_config": {"duration": 2, "format": "wav", "bpm": 140},
    "inference_steps": 2,
    "seed": 7,
}


def heard(audio: list[dict[str, Any]]) -> tuple[Any, int]:
    (part,) = audio
    kind, _, data = part["audio_url"]["url"].partition(",")
    assert (part["type"], kind) == ("audio_url", "data:audio/wav;base64")
    return soundfile.read(io.BytesIO(base64.b64decode(data)), always_2d=True)


def test_a_chat_is_answered_with_a_track(client: PollingClient, api: Api) -> None:
    answer = client.http.post("/v1/chat/completions", json=CHAT)
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert document["object"] == "chat.completion" and document["id"].startswith("chatcmpl-")
    (choice,) = document["choices"]
    assert (choice["finish_reason"], choice["message"]["role"]) == ("stop", "assistant")
    content = choice["message"]["content"]
    assert "**BPM:** 140" in content and "**Duration:** 2s" in content and content.endswith("## Lyrics\nHello world")
    made = api.generate(prompt="dark trap", lyrics="Hello world", bpm=140, duration_seconds=2, steps=2, seed=7)
    assert (heard(choice["message"]["audio"])[0] == made).all()


def test_a_chat_may_be_answered_as_a_stream(client: PollingClient) -> None:
    song = {"type": "input_audio", "input_audio": {"data": base64.b64encode(beat(2)).decode(), "format": "wav"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "drum fill"}, song]}]
    body = CHAT | {"messages": messages, "stream": True, "task_type": "repaint", "repainting_start": 1}
    answer = client.http.post("/v1/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    *events, last = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert last == "[DONE]"
    chunks = [json.loads(event) for event in events]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"} and len({c["id"] for c in chunks}) == 1
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0]["role"] == "assistant" and "**Caption:** drum fill" in deltas[1]["content"]
    samples, rate = heard(deltas[2]["audio"])
    assert len(samples) == 2 * rate and chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_an_error_ends_a_stream(client: PollingClient) -> None:
    answer = client.http.post("/v1/chat/completions", json=CHAT | {"stream": True, "lora_id": "acestep:absent"})
    chunk = json.loads(answer.text.split("data: ")[2])
    assert chunk["choices"][0]["finish_reason"] == "error" and chunk["error"]["code"] == 404
    assert "acestep:absent" in chunk["error"]["message"]
    answer = client.http.post("/v1/chat/completions", json=CHAT | {"lora_id": "acestep:absent"})
    assert answer.status_code == 404 and "acestep:absent" in answer.json()["detail"]


def test_a_failed_task_says_why(client: PollingClient) -> None:
    body = {"prompt": "x", "lora_id": "acestep:absent"} | SHORT
    row = client.ended(client.data(client.http.post("/release_task", json=body)))
    assert row["status"] == 2 and "acestep:absent" in row["result"][0]["error"]
    (unknown,) = client.data(client.http.post("/query_result", data={"task_id_list": '["nobodys"]'}))
    assert unknown["status"] == 2


def test_the_other_routes(client: PollingClient) -> None:
    assert client.data(client.http.get("/health"))["status"] == "ok"
    assert client.data(client.http.get("/v1/stats"))["jobs"].keys() == {
        *("total", "queued", "running", "succeeded", "failed")
    }
    described = {"caption", "lyrics", "bpm", "key_scale", "time_signature", "duration", "vocal_language"}
    sample = client.data(client.http.post("/create_random_sample", json={"sample_type": "simple_mode"}))
    assert sample.keys() == described
    body = {
        "prompt": " pop   rock ",
        "lyrics": "Walking",
        "param_obj": '{"duration": 180, "key": "Am", "language": "en"}',
    }
    tidied = client.data(client.http.post("/format_input", json=body))
    assert tidied.keys() == described
    assert (tidied["caption"], tidied["key_scale"], tidied["duration"]) == ("pop rock", "A minor", 180)


@pytest.mark.parametrize(
    ("path", "body", "status", "named"),
    [
        ("/release_task", {}, 400, "prompt"),
        ("/release_task", {"prompt": "x", "audio_duration": "long"}, 400, "audio_duration"),
        ("/release_task", {"prompt": "x", "task_type": "repaint"}, 400, "src_audio_path"),
        ("/release_task", {"prompt": "x", "task_type": "sing"}, 400, "task_type"),
        ("/v1/chat/completions", {"model": "x"}, 400, "messages"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": " "}]}, 400, "prompt"),
        ("/release_task", [], 400, "object"),
        ("/query_result", {}, 400, "task_id_list"),
        ("/query_result", {"task_id_list": "["}, 400, "task_id_list"),
        ("/format_input", {"prompt": ""}, 400, "prompt"),
    ],
)
def test_errors_have_ace_steps_shape(client: PollingClient, path: str, body: Any, status: int, named: str) -> None:
    answer = client.http.post(path, json=body)
    assert answer.status_code == status and answer.json().keys() == {"detail"}
    assert named in answer.json()["detail"]


def test_audio_is_of_tracks_only(client: PollingClient) -> None:
    for path in (
        "/data/api_keys/x.json",
        "/etc/passwd",
        "/data/outputs/../api_keys/x.json",
        "/data/outputs/base/no.mp3",
    ):
        answer = client.http.get("/v1/audio", params={"path": path})
        assert answer.status_code in (400, 404) and "detail" in answer.json()


def test_other_content_is_refused(client: PollingClient) -> None:
    answer = client.http.post("/release_task", content=b"x", headers={"content-type": "text/plain"})
    assert (answer.status_code, list(answer.json())) == (415, ["detail"])
    file = {"src_audio": ("a.wav", b"RIFF")}
    answer = client.http.post("/release_task", data={"prompt": "x"}, files=file)
    assert answer.status_code == 400 and "src_audio" in answer.json()["detail"]


def test_the_key_may_be_in_the_body(client: PollingClient, api: Api) -> None:
    """The client of the web app's key is another principal than the programs of this machine."""
    token = IS_WEB["MUSIC_SERVICE_API_KEY"]
    body = {"prompt": "x", "batch_size": 1, "ai_token": token} | SHORT
    released = client.data(client.http.post("/release_task", json=body))
    asked = {"task_id_list": [released["task_id"]]}
    (own,) = client.data(client.http.post("/query_result", json=asked | {"ai_token": token}))
    assert own["status"] in (0, 1)
    wrong = client.http.post("/query_result", json=asked | {"ai_token": "pt_nobody_x"})
    assert wrong.status_code == 401 and wrong.json().keys() == {"detail"}
    (others,) = client.data(client.http.post("/query_result", json=asked))
    assert others["status"] == 2
