"""Attacks on a service, each a function that returns once it was answered or has given up."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

import httpx

from tests import bombs
from tests.api import as_base64, beat


@dataclass(frozen=True)
class Target:
    """Where an attack is sent.

    Attributes:
        url: the service.
        key: the attacker's API key; None for none.
        producer: the producer that the attacker claims to be.
    """

    url: str
    key: str | None
    producer: str

    def client(self, timeout: float = 30.0) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        return httpx.Client(base_url=self.url, timeout=timeout, trust_env=False, headers=headers)

    def socket(self) -> socket.socket:
        address = urlsplit(self.url)
        return socket.create_connection((address.hostname, address.port or 80), timeout=5)


Attack = Callable[[Target, random.Random], object]


def _upload(make: Callable[[], bytes]) -> Attack:
    made = cache(make)

    def send(target: Target, order: random.Random) -> None:
        with target.client() as client:
            if order.random() < 0.5:
                client.post("/uploads", data={"producer_id": target.producer}, files={"file": ("b.wav", made())})
            else:
                body = {"producer_id": target.producer, "content_base64": as_base64(made())}
                client.post("/store-upload", json=body)

    return send


def _import(make: Callable[[], bytes]) -> Attack:
    made = cache(make)

    def send(target: Target, order: random.Random) -> None:
        fields = {"producer_id": target.producer, "model_name": "bomb"}
        with target.client() as client:
            client.post("/loras/import", data=fields, files={"file": ("adapter.zip", made())})

    return send


def abandoned_analysis(target: Target, order: random.Random) -> None:
    """Ask for the analysis of hours of silence, and leave."""
    with target.client() as client:
        files = {"file": ("silence.flac", bombs.silent_flac(120))}
        answer = client.post("/uploads", data={"producer_id": target.producer}, files=files)
        path = answer.json().get("path", "/data/uploads/none")
        client.get("/uploads/analysis", params={"path": path}, timeout=order.uniform(0.1, 3))


def abandoned_generation(target: Target, order: random.Random) -> None:
    with target.client(timeout=order.uniform(0.05, 0.5)) as client:
        client.post("/generate", json={"prompt": "noise", "duration_seconds": 60})


def conversions(target: Target, order: random.Random) -> None:
    with target.client() as client:
        made = client.post("/generate", json={"prompt": "noise", "duration_seconds": 2, "response": "url"}).json()
        for _ in range(5):
            client.get(made.get("output_path", "/data/outputs/none"), params={"format": "opus"}, timeout=1)


def _upload_of(target: Target, client: httpx.Client) -> str:
    """Upload a short song. Returns its path, or a path without a file if the upload was refused."""
    body = {"producer_id": target.producer, "content_base64": as_base64(beat(2))}
    path: str = client.post("/store-upload", json=body).json().get("path", "/data/uploads/none")
    return path


def _metadata(text: str) -> Attack:
    """A training whose metadata holds this JSON text."""

    def send(target: Target, order: random.Random) -> None:
        with target.client() as client:
            path = _upload_of(target, client)
            request = json.dumps({"producer_id": target.producer, "upload_paths": [path], "max_steps": 1})
            hostile = request[:-1] + f', "metadata_per_file": [{{"bpm": {text}}}]}}'
            job = client.post("/train/submit", content=hostile, headers={"content-type": "application/json"}).json()
            if "job_id" in job:
                client.post(f"/jobs/{job['job_id']}/cancel")

    return send


def slow_options(target: Target, order: random.Random) -> None:
    """OPTIONS requests whose bodies never come."""
    held = [target.socket() for _ in range(20)]
    for each in held:
        each.sendall(b"OPTIONS /generate HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{")
    _hold(held, order)


def silent_sockets(target: Target, order: random.Random) -> None:
    _hold([target.socket() for _ in range(100)], order)


def half_a_head(target: Target, order: random.Random) -> None:
    held = [target.socket() for _ in range(50)]
    for each in held:
        each.sendall(b"GET /jobs HTTP/1.1\r\nHost: a\r\nX-Slow: ")
    _hold(held, order)


def slow_bodies(target: Target, order: random.Random) -> None:
    key = f"Authorization: Bearer {target.key}\r\n" if target.key else ""
    held = [target.socket() for _ in range(20)]
    for each in held:
        head = (
            f"POST /generate HTTP/1.1\r\nHost: a\r\n{key}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
        )
        each.sendall(head.encode() + b"{")
    _hold(held, order)


def event_streams(target: Target, order: random.Random) -> None:
    """Event streams of a job that are left open."""
    with target.client() as client:
        jobs = client.get("/jobs").json().get("jobs") or [{"job_id": "none"}]
    key = f"Authorization: Bearer {target.key}\r\n" if target.key else ""
    held = [target.socket() for _ in range(20)]
    for each in held:
        each.sendall(f"GET /jobs/{jobs[0]['job_id']}/events HTTP/1.1\r\nHost: a\r\n{key}\r\n".encode())
    _hold(held, order)


def guesses(target: Target, order: random.Random) -> None:
    """Requests with invalid keys, as fast as possible."""
    headers = {"authorization": "Bearer ptk_0000000000000000_guess"}
    with httpx.Client(base_url=target.url, timeout=10, trust_env=False, headers=headers) as client:
        for _ in range(50):
            client.get("/jobs")


def deep_json(target: Target, order: random.Random) -> None:
    with target.client() as client:
        headers = {"content-type": "application/json"}
        client.post("/generate", content=b'{"prompt": ' + b"[" * 200_000, headers=headers)
        client.post("/train/submit", content=b'{"a":' * 100_000, headers=headers)


def many_jobs(target: Target, order: random.Random) -> None:
    """Submit more jobs at once than a key may have, and cancel them."""
    with target.client() as client:
        path = _upload_of(target, client)
        made = []
        for number in range(5):
            request = {"producer_id": target.producer, "upload_paths": [path], "model_name": f"m{number}"}
            made.append(client.post("/train/submit", json=request).json())
        for job in made:
            if "job_id" in job:
                client.post(f"/jobs/{job['job_id']}/cancel")


def _hold(sockets: list[socket.socket], order: random.Random) -> None:
    """Keep the connections for some seconds."""
    sockets[0].settimeout(order.uniform(1, 10))
    try:
        while sockets[0].recv(4096):
            pass
    except OSError:
        pass
    finally:
        for each in sockets:
            each.close()


ATTACKS: dict[str, Attack] = {
    **{name: _upload(make) for name, make in bombs.AUDIO.items()},
    **{name: _import(make) for name, make in bombs.ADAPTERS.items()},
    "an abandoned analysis": abandoned_analysis,
    "an abandoned generation": abandoned_generation,
    "conversions": conversions,
    "metadata with NaN": _metadata("NaN"),
    "metadata with 1e400": _metadata("1e400"),
    "OPTIONS with slow bodies": slow_options,
    "silent sockets": silent_sockets,
    "half-sent heads": half_a_head,
    "slow bodies": slow_bodies,
    "event streams": event_streams,
    "guessed keys": guesses,
    "deep JSON": deep_json,
    "many jobs": many_jobs,
}
