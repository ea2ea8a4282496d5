"""Starting a job's process by Ray Jobs, over the REST API of the cluster's head; Ray itself is not installed here.

https://docs.ray.io/en/latest/cluster/running-applications/job-submission/rest.html

The machines of the cluster run the image of this service and have the secrets in their environment. All other settings
are sent with the job.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import time
import uuid
from collections.abc import Mapping
from typing import Any

import httpx

from core.errors import Refusal
from core.settings import ROOT, Settings
from training.jobs.launch import STOP_GRACE_SECONDS, TrainingProcess, command

log = logging.getLogger("producer_twin.training")

_POLL_SECONDS = 1.0
_REQUEST_TIMEOUT_SECONDS = 30.0
# A head that does not answer for this long is taken for gone, and its jobs with it.
_HEAD_TIMEOUT_SECONDS = 120.0

# Resources with a field of their own in Ray's API.
_RESOURCE_FIELDS = {"CPU": "entrypoint_num_cpus", "GPU": "entrypoint_num_gpus", "memory": "entrypoint_memory"}
# Never sent, since Ray's dashboard shows the environment of its jobs.
_SECRETS = {
    "hf_token",
    "gemini_api_key",
    "nawfside_app_password",
    "auth_jwt_secret",
    "c2pa_certificate",
    "c2pa_private_key",
}
# Sent beside our settings. Ray sets OMP_NUM_THREADS to 1 if it is not sent.
_OTHER_VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "AWS_REGION", "AWS_DEFAULT_REGION")


class RayLauncher:
    """Starts jobs on a Ray cluster.

    Args:
        url: address of the head's dashboard, which also takes jobs.
        resources: reserved for each job: GPU, CPU, memory (bytes), or any custom resource of the cluster's nodes.
    """

    def __init__(self, url: str, resources: Mapping[str, float], config: Settings) -> None:
        self._url, self._resources, self._config = url, resources, config

    async def start(self, job_id: str, attempt: int) -> TrainingProcess:
        # Named here, so that a job whose submission got no answer can still be found.
        name = f"{job_id}-{attempt}-{uuid.uuid4().hex[:8]}"
        body: dict[str, Any] = {
            "submission_id": name,
            "entrypoint": f"exec {shlex.join(command(job_id, attempt))}",
            "runtime_env": {"env_vars": self._environment()},
            "metadata": {"job_id": job_id, "attempt": str(attempt)},
            "entrypoint_resources": {
                key: amount for key, amount in self._resources.items() if key not in _RESOURCE_FIELDS
            },
        }
        body |= {_RESOURCE_FIELDS[key]: amount for key, amount in self._resources.items() if key in _RESOURCE_FIELDS}
        try:
            async with _client(self._url) as client:
                answer = await client.post("/api/jobs/", json=body)
        except httpx.HTTPError as error:
            raise Refusal(503, f"Ray at {self._url} cannot be reached ({type(error).__name__})") from error
        if answer.status_code != 200:
            raise Refusal(503, f"Ray at {self._url} did not take the job: {_first_line(answer.text)}")
        return _RayJob(self._url, name)

    def close(self) -> None:
        pass

    def _environment(self) -> dict[str, str]:
        names = [name.upper() for name in Settings.model_fields if name not in _SECRETS]
        given = {name: os.environ[name] for name in (*names, *_OTHER_VARIABLES) if name in os.environ}
        return given | {
            "STORAGE_URL": self._config.storage_url,
            "PYTHONPATH": str(ROOT),
            "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_GRACE_SECONDS),
        }


class _RayJob:
    def __init__(self, url: str, name: str) -> None:
        self._url, self._name = url, name

    async def wait(self) -> str | None:
        last_answer = time.monotonic()
        while True:
            try:
                async with _client(self._url) as client:
                    answer = await client.get(f"/api/jobs/{self._name}")
                if answer.status_code == 404:
                    return f"Ray at {self._url} does not know the training process any more: its head was started again"
                info = answer.raise_for_status().json()
                last_answer = time.monotonic()
            except (httpx.HTTPError, ValueError) as error:
                if time.monotonic() - last_answer > _HEAD_TIMEOUT_SECONDS:
                    return (
                        f"Ray at {self._url} has not answered for {_HEAD_TIMEOUT_SECONDS:g} s ({type(error).__name__})"
                    )
                log.warning("Ray at %s: %s", self._url, error or type(error).__name__)
                info = {"status": "not known"}
            match info["status"]:
                case "SUCCEEDED":
                    return None
                case "FAILED" | "STOPPED":
                    message = _first_line(info.get("message") or "")
                    return f"the training process is {info['status']} in Ray ({message}); its log there says more"
            await asyncio.sleep(_POLL_SECONDS)

    async def end(self, grace_seconds: float) -> None:
        try:
            async with _client(self._url) as client:
                await client.post(f"/api/jobs/{self._name}/stop")
            async with asyncio.timeout(grace_seconds):
                await self.wait()
        except (httpx.HTTPError, TimeoutError) as error:
            log.warning("Ray at %s was asked to end %s: %s", self._url, self._name, error or type(error).__name__)


def _client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=_REQUEST_TIMEOUT_SECONDS, trust_env=False)


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[0][:300]
