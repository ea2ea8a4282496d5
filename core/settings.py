"""Every setting with its default, read from the environment. docs/settings.md is generated from this module."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.urls import is_http, is_https_or_loopback

ROOT = Path(__file__).resolve().parents[1]

SegmentProfile = Literal["contract", "native"]
DType = Literal["auto", "float32", "bfloat16", "float16"]

_WEEK_SECONDS = 7 * 24 * 3600


def default_storage() -> Path:
    """The folder `data` in the project; for a served Bento in the working directory, as the next Bento replaces it."""
    return (Path.cwd() if (ROOT.parent / "bento.yaml").exists() else ROOT) / "data"


class SettingsGroup(BaseSettings):
    """Settings that belong together; the docstring of each group is its heading in docs/settings.md."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore")


class StorageSettings(SettingsGroup):
    """Storage"""

    storage_url: str = Field(
        default_factory=lambda: default_storage().as_uri(),
        description="Where uploads, datasets, jobs, twins and tracks are kept: `file:///folder` or `s3://bucket/prefix`.",
    )
    s3_endpoint_url: str | None = Field(
        None,
        description="URL of an S3-compatible server (R2, MinIO, SeaweedFS); unset, AWS. boto3 reads the credentials "
        "from `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.",
    )
    keep_uploads_days: float | None = Field(
        None, gt=0, description="Age in days after which uploads are removed; unset, they are kept."
    )
    keep_datasets_days: float | None = Field(
        None, gt=0, description="Age in days after which datasets are removed; unset, they are kept."
    )
    keep_outputs_days: float | None = Field(
        None, gt=0, description="Age in days after which generated tracks are removed; unset, they are kept."
    )
    producer_max_bytes: int | None = Field(
        None, gt=0, description="Bytes that one producer may store; more is refused with 507. Unset, there is no limit."
    )

    @field_validator("storage_url")
    @classmethod
    def _known_storage(cls, url: str) -> str:
        if not url.startswith(("file:///", "s3://")):
            raise ValueError("STORAGE_URL must be file:///folder or s3://bucket/prefix")
        return url


class ModelSettings(SettingsGroup):
    """Models"""

    music_backend: str = Field(
        "ace_step", description="Backend of a request that names none: `ace_step` or `musicgen`."
    )
    ace_step_model: str = Field(
        "starter", description="ACE-Step checkpoint: `starter`, a folder, or `<hub id>[@revision]`."
    )
    musicgen_model: str = Field(
        "starter", description="MusicGen checkpoint: `starter`, a folder, or `<hub id>[@revision]`."
    )
    hf_token: str | None = Field(None, description="Hugging Face token, for repositories that ask for one.")
    allow_noncommercial: bool = Field(
        True, description="`false` removes backends whose weights may not be used commercially (MusicGen)."
    )
    device: str = Field(
        "auto", description="Device that generates: `auto` (the best found), `cpu`, `cuda`, `cuda:1` or `mps`."
    )
    dtype: DType = Field(
        "auto",
        description="Number format of the weights: `auto` (by device), `float32`, `bfloat16` or `float16`.",
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="Whether layers are compiled with `torch.compile`: `on`, `off`, or `auto`, on a GPU only."
    )
    offload: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Whether ACE-Step's encoders and codec, and MusicGen's text encoder, stay in the CPU's memory "
        "until they run: `on`, `off`, or `auto`, on a GPU that is too small for all weights and 4 GiB.",
    )
    quantization: Literal["none", "int8"] = Field(
        "none",
        description="`int8` stores the weights of the layers in 8 bits, in serving and in training; twins stay as they "
        "are.",
    )


class GenerationSettings(SettingsGroup):
    """Generation"""

    max_duration_seconds: float | None = Field(
        None, gt=0, description="Longest track in seconds; unset, the backend's own limit."
    )
    generate_timeout_seconds: float = Field(
        1800.0, gt=0, description="Seconds after which a track that is not done is given up with 504."
    )
    repaint_injected_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the steps of repaint and extend after which the source outside the window still replaces "
        "what the model makes there, for requests without `injected_share`; more follows the source more closely.",
    )
    keep_latents: bool = Field(
        False,
        description="Whether ACE-Step's tracks in WAV and FLAC keep their latents, if a request does not say; "
        "an edit then starts from these rather than from the sound. They take 6 kB a second.",
    )
    hung_seconds: float = Field(
        120.0,
        gt=0,
        description="Seconds for one layer or token after which the runner counts as hung and is replaced, if that is "
        "also 20 times as long as such work took before.",
    )
    link_seconds: int = Field(
        3600, gt=0, le=_WEEK_SECONDS, description="Seconds for which a link to a track in S3 is valid, a week at most."
    )
    c2pa_certificate: Path | None = Field(
        None, description="PEM file with the certificate chain that signs tracks (C2PA content credentials)."
    )
    c2pa_private_key: Path | None = Field(None, description="PEM file with the private key of that certificate.")
    c2pa_timestamp_url: str | None = Field(
        None, description="URL of the timestamp authority (RFC 3161) that countersigns; unset, no timestamp."
    )


class AccessSettings(SettingsGroup):
    """Access"""

    allow_anonymous: bool = Field(
        False,
        description="Serve requests that have no API key. If `false`, they are served only from this machine, and only "
        "until the first key is made.",
    )
    key_requests_per_minute: int = Field(
        600, ge=1, description="Requests a minute of an API key that has no limit of its own."
    )
    key_jobs_at_once: int = Field(
        20, ge=0, description="Training jobs under way of an API key that has no limit of its own."
    )
    guest_key: str | None = Field(
        None,
        description="One more API key, as a JSON record, that is not stored; `make web` passes it to the service that "
        "it starts.",
    )
    public_url: str | None = Field(
        None,
        description="URL by which clients reach the service, such as `https://music.example`, for the redirects of "
        "`POST /train`; unset, the one that the request was for, whose `Host` its client chooses.",
    )
    nawfside_app_password: str | None = Field(
        None, description="Password that requests which write must send in the header `x-train-password`."
    )

    @field_validator("public_url")
    @classmethod
    def _with_slash(cls, url: str | None) -> str | None:
        if url is not None and not is_http(url):
            raise ValueError("PUBLIC_URL must be http(s)://…, without a query")
        return url and url.rstrip("/") + "/"


class SignInSettings(SettingsGroup):
    """Sign-in"""

    auth_issuer: str | None = Field(
        None,
        description="URL of the OpenID Connect issuer whose tokens are accepted, exactly as their claim `iss` has it; "
        "Supabase's is `https://<ref>.supabase.co/auth/v1`. Unset, there is no sign-in.",
    )
    auth_audience: str | None = Field(
        None, description="Audience that a token must be for, `authenticated` for Supabase; needed with `AUTH_ISSUER`."
    )
    auth_jwks_url: str | None = Field(
        None,
        description="URL of the issuer's public keys; unset, the one in its discovery document, which must be of the "
        "issuer's host.",
    )
    auth_jwt_secret: str | None = Field(
        None,
        description="Secret, of 32 bytes at least, of tokens that are signed with HS256, as older Supabase projects "
        "do; unset, such tokens are refused.",
    )
    auth_producers_claim: str = Field(
        "app_metadata.producer_ids",
        description="Claim that lists the producers of a user, a name or a path with dots; for a token without it, "
        "they are the producers that the user claimed.",
    )
    auth_role_claim: str = Field(
        "app_metadata.role", description="Claim whose value `admin`, alone or in a list, makes a user an administrator."
    )

    @field_validator("auth_issuer", "auth_jwks_url")
    @classmethod
    def _safe_url(cls, url: str | None) -> str | None:
        if url is not None and not is_https_or_loopback(url):
            raise ValueError("AUTH_ISSUER and AUTH_JWKS_URL must be https://…, or http:// on this machine for tests")
        return url

    @field_validator("auth_jwt_secret")
    @classmethod
    def _long_secret(cls, secret: str | None) -> str | None:
        if secret is not None and len(secret.encode()) < 32:
            raise ValueError("AUTH_JWT_SECRET must have 32 bytes at least")
        return secret

    @field_validator("auth_producers_claim", "auth_role_claim")
    @classmethod
    def _issuer_writes_it(cls, claim: str) -> str:
        if claim.partition(".")[0] == "user_metadata":
            raise ValueError("Supabase lets users write user_metadata themselves: use a claim in app_metadata")
        return claim

    @model_validator(mode="after")
    def _issuer_has_audience(self) -> Self:
        if self.auth_issuer and not self.auth_audience:
            raise ValueError("AUTH_ISSUER needs AUTH_AUDIENCE: without it, tokens for other services are accepted")
        return self


class RequestSettings(SettingsGroup):
    """Limits on requests"""

    max_body_bytes: int = Field(96 * 2**20, gt=0, description="Size in bytes of the largest JSON body.")
    max_upload_bytes: int = Field(2 * 2**30, gt=0, description="Size in bytes of the largest uploaded file.")
    max_bodies_bytes: int = Field(
        64 * 2**20,
        gt=0,
        description="Bytes of request bodies held in memory, uploads excluded; one API key may take half of them.",
    )
    body_silence_seconds: float = Field(
        30.0, gt=0, description="Seconds within which each next 64 KiB of a request body must arrive."
    )
    requests_at_once: int = Field(512, ge=2, description="Requests served at the same time, streams excluded.")
    key_requests_at_once: int = Field(64, ge=1, description="Requests served at the same time for one API key.")
    streams_at_once: int = Field(512, ge=2, description="Event streams and downloads served at the same time.")
    key_streams_at_once: int = Field(
        64, ge=1, description="Event streams and downloads served at the same time for one API key."
    )
    max_connections: int = Field(2048, ge=1, description="Open connections; beyond, idle ones are closed first.")
    head_seconds: float = Field(
        10.0, gt=0, description="Seconds that a connection may be open without sending the head of a request."
    )
    unread_seconds: float = Field(
        60.0, gt=0, description="Seconds within which a client must read each next 64 KiB of its answer."
    )
    stop_seconds: float = Field(
        30.0,
        ge=0,
        description="Seconds that requests under way have to end after SIGTERM, while new ones are refused.",
    )


class RemoteSettings(SettingsGroup):
    """Services on other machines"""

    runner_urls: dict[str, str] = Field(
        default_factory=dict,
        description='URLs of runners on other machines by backend, as JSON: `{"ace_step": "http://…"}`. The others are '
        "started on this machine.",
    )
    training_url: str | None = Field(
        None, description="URL of the training service; unset, it is started on this machine."
    )


class ObservabilitySettings(SettingsGroup):
    """Logs and traces"""

    log_format: Literal["text", "json"] = Field("text", description="Format of the log lines: `text` or `json`.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least level that is logged: `DEBUG`, `INFO`, `WARNING` or `ERROR`."
    )
    otel_exporter_otlp_endpoint: str | None = Field(
        None, description="URL of the OpenTelemetry collector (OTLP over HTTP); unset, nothing is traced."
    )
    traces_sampled: float = Field(1.0, ge=0, le=1, description="Share of requests that are traced, 0 to 1.")


class DatasetSettings(SettingsGroup):
    """Datasets"""

    segment_profile: SegmentProfile = Field(
        "contract",
        description="`profile` of a training request that names none: `contract`, 44.1 kHz mono, or `native`, the "
        "backend's own rate and channels.",
    )
    fetch_max_bytes: int = Field(
        200 * 2**20, gt=0, description="Size in bytes of the largest file fetched from `upload_urls`."
    )
    fetch_max_total_bytes: int = Field(
        2 * 2**30, gt=0, description="Bytes that all files fetched for one training request may have together."
    )
    fetch_timeout_seconds: float = Field(120.0, gt=0, description="Seconds that fetching one file may take.")

    tagger: Literal["gemini", "local", "none"] | None = Field(
        None,
        description="What names genre, instruments and mood of the segments: `local`, networks that ship with the "
        "service; `gemini`, for every job; or `none`. Unset, Gemini for jobs with `tag_before_train`, else `local`.",
    )
    gemini_api_key: str | None = Field(
        None, description="API key for Gemini, which tags segments where a request says `tag_before_train`."
    )
    gemini_model: str = Field("gemini-3.5-flash-lite", description="Gemini model that tags.")
    gemini_base_url: str | None = Field(None, description="Base URL of the Gemini API; unset, Google's.")
    gemini_max_calls: int = Field(
        500, ge=0, description="Segments that one training job may have tagged; segments tagged before do not count."
    )


class TrainingSettings(SettingsGroup):
    """Training"""

    train_device: str | None = Field(
        None,
        description="Device that trains, or several with commas, which share each job's batches: `cuda:1,cuda:2`. "
        "Unset, the same as `DEVICE`.",
    )
    train_jobs_at_once: int = Field(1, ge=1, description="Training jobs run at the same time; the others wait.")
    train_answer_seconds: float = Field(
        150.0,
        gt=0,
        description="Seconds after which `POST /train` answers 303, a redirect to a URL that waits further. HTTP "
        "clients give up a request without an answer: Node's fetch after 300 s, some proxies after 100 s.",
    )
    train_checkpoint_seconds: float = Field(
        30.0, ge=0, description="Seconds between checkpoints, from which a job resumes after a crash."
    )
    train_gpu_bytes: int | None = Field(
        None,
        gt=0,
        description="Bytes of GPU memory that a job waits for and does not exceed; unset, what is free at its start, "
        "less 1 GiB.",
    )
    train_ray_url: str | None = Field(
        None, description="URL of the job server of a Ray cluster that runs the jobs; unset, they run on this machine."
    )
    train_ray_resources: dict[str, float] = Field(
        default_factory=lambda: {"GPU": 1.0},
        description="Resources that each job reserves on the Ray cluster, as JSON.",
    )


class Settings(
    # Fields are taken from the bases from right to left.
    TrainingSettings,
    DatasetSettings,
    ObservabilitySettings,
    RemoteSettings,
    RequestSettings,
    SignInSettings,
    AccessSettings,
    GenerationSettings,
    ModelSettings,
    StorageSettings,
):
    """All settings. An attribute is the environment variable of the same name in upper case; empty means unset."""


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process. They are read once: a changed variable takes effect after a restart."""
    return Settings()
