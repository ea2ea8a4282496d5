"""Every setting, read from the environment, with its default. README.md lists them for users."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parents[1]

SegmentProfile = Literal["contract", "native"]
DType = Literal["auto", "float32", "bfloat16", "float16"]


def default_storage() -> Path:
    """`data` in the project; for a served Bento, in the folder it is served from, since the next Bento replaces it."""
    return (Path.cwd() if (ROOT.parent / "bento.yaml").exists() else ROOT) / "data"


class Settings(BaseSettings):
    """An attribute is the environment variable of the same name in upper case; an empty one means unset."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore")

    # Where things are kept: `file:///folder` or `s3://bucket/prefix`.
    storage_url: str = Field(default_factory=lambda: default_storage().as_uri())
    s3_endpoint_url: str | None = None

    # Models.
    music_backend: str = "ace_step"
    ace_step_model: str = "starter"
    musicgen_model: str = "starter"
    hf_token: str | None = None
    allow_noncommercial: bool = True
    device: str = "auto"
    dtype: DType = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    train_device: str | None = None

    # Serving.
    max_duration_seconds: float | None = Field(None, gt=0)
    generate_timeout_seconds: float = Field(1800.0, gt=0)
    hung_seconds: float = Field(120.0, gt=0)  # for a layer or a token; more where such work was seen to take long
    stop_seconds: float = Field(30.0, ge=0)  # for what is under way when the server is told to stop
    max_body_bytes: int = Field(96 * 2**20, gt=0)
    max_upload_bytes: int = Field(2 * 2**30, gt=0)
    link_seconds: int = Field(3600, gt=0, le=7 * 24 * 3600)  # S3 signs for a week at most
    nawfside_app_password: str | None = None

    # Who is served (api.auth.access); API keys are in storage (api.auth.keys). Both limits: of keys that name none.
    allow_anonymous: bool = False
    key_requests_per_minute: int = Field(600, ge=1)
    key_jobs_at_once: int = Field(20, ge=0)
    guest_key: str | None = None  # the key of a web app that was started with this service (scripts.web), as JSON

    # Requests under way, all together and of one key (api.capacity.request_limits); streams apart.
    requests_at_once: int = Field(512, ge=2)
    key_requests_at_once: int = Field(64, ge=1)
    streams_at_once: int = Field(512, ge=2)
    key_streams_at_once: int = Field(64, ge=1)

    # Connections (api.server.connections): how many, the time for a request's head and for reading an answer.
    max_connections: int = Field(2048, ge=1)
    head_seconds: float = Field(10.0, gt=0)
    unread_seconds: float = Field(60.0, gt=0)

    # Bodies in memory, of all requests but uploads, and in what time each next 64 KiB of any body must come.
    max_bodies_bytes: int = Field(64 * 2**20, gt=0)
    body_silence_seconds: float = Field(30.0, gt=0)

    # Services that run elsewhere, by the backend's name; those of this machine are started with the front.
    runner_urls: dict[str, str] = Field(default_factory=dict)
    training_url: str | None = None

    # Logs.
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    # Traces: where OpenTelemetry's collector takes OTLP over HTTP, and which share of requests is traced.
    otel_exporter_otlp_endpoint: str | None = None
    traces_sampled: float = Field(1.0, ge=0, le=1)

    # Signs what is generated (generation.content_credentials): PEM files, and a timestamp authority's URL.
    c2pa_certificate: Path | None = None
    c2pa_private_key: Path | None = None
    c2pa_timestamp_url: str | None = None

    # The profile of a training request that names none (preprocessing.segment says what they are).
    segment_profile: SegmentProfile = "contract"

    # Fetching what a client names by URL; the limits of one file, and of all files of a request together.
    fetch_max_bytes: int = Field(200 * 2**20, gt=0)
    fetch_max_total_bytes: int = Field(2 * 2**30, gt=0)
    fetch_timeout_seconds: float = Field(120.0, gt=0)

    # Housekeeping: what goes by age, in days, and what one producer may store. None is without end.
    keep_uploads_days: float | None = Field(None, gt=0)
    keep_datasets_days: float | None = Field(None, gt=0)
    keep_outputs_days: float | None = Field(None, gt=0)
    producer_max_bytes: int | None = Field(None, gt=0)

    # Training.
    train_jobs_at_once: int = Field(1, ge=1)
    train_checkpoint_seconds: float = Field(30.0, ge=0)
    train_ray_url: str | None = None  # jobs are run by this Ray cluster instead of here, each with these resources
    train_ray_resources: dict[str, float] = Field(default_factory=lambda: {"GPU": 1.0})
    train_gpu_bytes: int | None = Field(None, gt=0)  # a job waits for so much GPU memory; unset: it takes what is free

    # Tagging.
    gemini_api_key: str | None = None
    gemini_model: str = "gemini-3.5-flash-lite"
    gemini_base_url: str | None = None
    gemini_max_calls: int = Field(500, ge=0)  # for one training job; what was tagged before needs none

    @field_validator("storage_url")
    @classmethod
    def _known_storage(cls, url: str) -> str:
        if not url.startswith(("file:///", "s3://")):
            raise ValueError("STORAGE_URL must be file:///folder or s3://bucket/prefix")
        return url


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process. They are read once: a changed variable needs a restart."""
    return Settings()
