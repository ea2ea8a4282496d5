"""A job's process by Ray Jobs, over the HTTP API of the cluster's head: nothing of Ray is needed here.

https://docs.ray.io/en/latest/cluster/running-applications/job-submission/rest.html

The machines of the cluster run what this service runs (the same image), and have what is secret in their environment;
all else that is set here goes along with the job.
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
from training.jobs.launch import LAST_WORDS_SECONDS, Running, command

log = logging.getLogger("producer_twin.training")

_POLL_SECONDS = 1.0
_ANSWER_SECONDS = 30.0
# A head that does not answer for so long is gone, and all its jobs with it.
_SILENCE_SECONDS = 120.0

# What Ray has names of its own for, in its API.
_KNOWN = {"CPU": "entrypoint_num_cpus", "GPU": "entrypoint_num_gpus", "memory": "entrypoint_memory"}
# Whoever sees Ray's dashboard sees the environment of its jobs.
_SECRETS = {"hf_token", "gemini_api_key", "nawfside_app_password", "c2pa_certificate", "c2pa_private_key"}
# No settings of ours, but part of how a job runs. Ray sets the first to 1 where nobody else does.
_ALSO = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "AWS_REGION", "AWS_DEFAULT_REGION")


class RayJobs:
    """Args:
    url: of the head's job server, which is its dashboard's.
    resources: what Ray reserves for a job: GPU, CPU, memory (bytes), and whatever else its nodes offer.
    """

    def __init__(self, url: str, resources: Mapping[str, float], config: Settings) -> None:
        self._url, self._resources, self._config = url, resources, config

    async def start(self, job_id: str, attempt: int) -> Running:
        # Of our making: an answer that is lost must not leave a process that nobody knows of.
        name = f"{job_id}-{attempt}-{uuid.uuid4().hex[:8]}"
        body: dict[str, Any] = {
            "submission_id": name,
            "entrypoint": f"exec {shlex.join(command(job_id, attempt))}",
            "runtime_env": {"env_vars": self._environment()},
            "metadata": {"job_id": job_id, "attempt": str(attempt)},
            "entrypoint_resources": {key: share for key, share in self._resources.items() if key not in _KNOWN},
        }
        body |= {_KNOWN[key]: share for key, share in self._resources.items() if key in _KNOWN}
        try:
            async with _client(self._url) as client:
                answer = await client.post("/api/jobs/", json=body)
        except httpx.HTTPError as error:
            raise Refusal(503, f"Ray at {self._url} cannot be reached ({type(error).__name__})") from error
        if answer.status_code != 200:
            raise Refusal(503, f"Ray at {self._url} did not take the job: {_first_line(answer.text)}")
        return _RayJob(self._url, name)

    def _environment(self) -> dict[str, str]:
        names = [name.upper() for name in Settings.model_fields if name not in _SECRETS]
        given = {name: os.environ[name] for name in (*names, *_ALSO) if name in os.environ}
        return given | {
            "STORAGE_URL": self._config.storage_url,
            "PYTHONPATH": str(ROOT),
            "RAY_JOB_STOP_WAIT_TIME_S": str(LAST_WORDS_SECONDS),
        }


class _RayJob:
    def __init__(self, url: str, name: str) -> None:
        self._url, self._name = url, name

    async def wait(self) -> str | None:
        heard = time.monotonic()
        while True:
            try:
                async with _client(self._url) as client:
                    answer = await client.get(f"/api/jobs/{self._name}")
                if answer.status_code == 404:
                    return f"Ray at {self._url} does not know the training process any more: its head was started again"
                told = answer.raise_for_status().json()
                heard = time.monotonic()
            except (httpx.HTTPError, ValueError) as error:
                if time.monotonic() - heard > _SILENCE_SECONDS:
                    return f"Ray at {self._url} has not answered for {_SILENCE_SECONDS:g} s ({type(error).__name__})"
                log.warning("Ray at %s: %s", self._url, error or type(error).__name__)
                told = {"status": "not known"}
            match told["status"]:
                case "SUCCEEDED":
                    return None
                case "FAILED" | "STOPPED":
                    said = _first_line(told.get("message") or "")
                    return f"the training process is {told['status']} in Ray ({said}); its log there says more"
            await asyncio.sleep(_POLL_SECONDS)

    async def end(self, patience: float) -> None:
        try:
            async with _client(self._url) as client:
                await client.post(f"/api/jobs/{self._name}/stop")
            async with asyncio.timeout(patience):
                await self.wait()
        except (httpx.HTTPError, TimeoutError) as error:
            log.warning("Ray at %s was told to end %s: %s", self._url, self._name, error or type(error).__name__)


def _client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=_ANSWER_SECONDS, trust_env=False)


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or ["it does not say why"])[0][:300]
