"""All settings of the server, read from the command line or the environment."""

from __future__ import annotations

import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Literal

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

USE_GPU_NAMES = ("MISMO_USE_GPU", "USE_GPU")
"""Older environment variables: false makes the device "auto" choose the CPU."""

MIB = 1 << 20
GIB = 1 << 30

_HOST_PATTERN = re.compile(r"(\*\.)?[^\W_]([\w.-]*\w)?\.?")


class Settings(BaseSettings):
    """The settings as one frozen object.

    Every setting can be given in the environment as `MISMO_<NAME>`; the older names of the app server's contract
    (`DEMUCS_MODEL`, `JOBS_DIR`, ...) work as well. Each alias is a full environment name, because otherwise pydantic
    would also read the bare word (`MODEL`, `DEVICE`).
    """

    model_config = SettingsConfigDict(
        env_prefix="MISMO_", frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True
    )

    # Listening
    host: str = Field(
        default="127.0.0.1", description="address that both ports listen on; 0.0.0.0: all addresses"
    )
    grpc_port: int = Field(default=50051, ge=0, le=65535, description="port of gRPC; 0 picks a free one")
    http_port: int = Field(
        default=8000,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("MISMO_HTTP_PORT", "SERVER_PORT"),
        description="port of HTTP; 0 picks a free one",
    )
    http_allowed_hosts: list[str] = Field(
        default_factory=lambda: list[str](),
        description="host names and *.domain patterns allowed in the HTTP headers Host (besides addresses, localhost, "
        "the machine's name and names without a dot) and Origin (besides the request's own host); *: any",
    )
    ready_file: Path | None = Field(
        default=None, description="file that gets grpc_port, http_port and pid as JSON once jobs are accepted"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="lowest severity that is logged"
    )

    # Separation
    device: str = Field(
        default="auto",
        validation_alias=AliasChoices("MISMO_DEVICE", "DEMUCS_DEVICE"),
        description="where the model runs; auto: CUDA where there is one and the older USE_GPU (or MISMO_USE_GPU) is "
        "not false in the environment, else the CPU",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        validate_default=True,
    )
    model: str = Field(
        default="htdemucs",
        validation_alias=AliasChoices("MISMO_MODEL", "DEMUCS_MODEL"),
        description="model of jobs that name none; mismo_lite if its weights are not available",
    )
    model_dirs: list[Path] = Field(
        default_factory=lambda: list[Path](),
        description="folders with further models: <name>.yaml and .th or .safetensors files",
    )
    keep_models_warm: bool = Field(
        default=True,
        validation_alias=AliasChoices("MISMO_KEEP_MODELS_WARM", "KEEP_DEMUCS_LOADED"),
        description="load the default model at start and keep models between jobs",
    )
    model_memory_bytes: int = Field(
        default=4 * GIB,
        gt=0,
        description="memory of all warm models together; the least recently used model is unloaded first",
    )
    hub: bool = Field(default=True, description="fetch missing weights from the model hub, in the background")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="arithmetic of the model; auto: bf16 if it measures faster on this device, else fp32",
    )
    max_batch: int = Field(
        default=0, ge=0, le=64, description="segments in one forward pass; 0: 1 on the CPU, 8 on CUDA"
    )
    cpu_threads: int = Field(
        default=0, ge=0, description="threads of one forward pass on the CPU; 0: all cores"
    )
    analysis_workers: int = Field(
        default=0,
        ge=0,
        le=64,
        description="processes that analyse tracks; 0: one for each core but one, at most 8",
    )
    keep_analysis_warm: bool = Field(
        default=True,
        description="start a process for analyses with the server, behind it; false: with the first job",
    )
    max_concurrent_jobs: int = Field(
        default=4,
        ge=1,
        validation_alias=AliasChoices("MISMO_MAX_CONCURRENT_JOBS", "MAX_CONCURRENT_ANALYSIS"),
        description="jobs that run at once; others wait in the queue, highest priority first",
    )

    # Generation
    mock_generation: bool = Field(
        default=True,
        validation_alias=AliasChoices("MISMO_MOCK_GENERATION", "MOCK_GENERATION"),
        description="generator of jobs that name none; true: synthetic, false: musicgen",
    )
    musicgen_model: str = Field(
        default="facebook/musicgen-small",
        description="model of the generator musicgen: a folder of that name in the model folders, or on the hub",
        pattern=r"^[\w.-]+/[\w.-]+$",
    )

    # Jobs and files
    jobs_dir: Path = Field(
        default=Path("jobs"),
        validation_alias=AliasChoices("MISMO_JOBS_DIR", "JOBS_DIR"),
        description="folder of the job store, the uploads and the results",
    )
    queue_capacity: int = Field(default=256, ge=1, description="jobs queued or running at once")
    job_retries: int = Field(
        default=12,
        ge=0,
        le=1000,
        description="most retries of a stage after a failure that may pass, such as a blob container that does not "
        "respond; some causes have fewer. Then the job is a dead letter, which can be replayed; 0: no retries",
    )
    job_retry_delay: float = Field(
        default=2.0,
        ge=0,
        le=300,
        description="seconds before the first retry if a blob container does not respond; doubles with each further "
        "one, up to 5 minutes. The delays of other causes change in proportion",
    )
    job_retention_hours: float = Field(
        default=24.0,
        gt=0,
        validation_alias=AliasChoices("MISMO_JOB_RETENTION_HOURS", "JOB_RETENTION_HOURS"),
        description="retention: a finished job and its files are removed after this time, unless the job set its own",
    )
    disk_budget_bytes: int = Field(
        default=0,
        ge=0,
        description="most space for finished results; 0: no limit. Over it the oldest ones are removed, or only their "
        "local files if they are in the blob container (docs/storage.md)",
    )
    disk_reserve_bytes: int = Field(
        default=256 * MIB, ge=0, description="free space that results and uploads never use"
    )
    stem_format: Literal["wav"] = Field(
        default="wav",
        validation_alias=AliasChoices("MISMO_STEM_FORMAT", "STEM_FORMAT"),
        description="format of the stem files in the jobs folder",
    )
    allow_file_paths: bool = Field(
        default=True, description="whether a job may name its track by a path on the server"
    )
    allowed_path_prefixes: list[Path] = Field(
        default_factory=lambda: list[Path](),
        description="folders that source paths must be in; empty: no path is allowed",
    )
    max_upload_bytes: int = Field(
        default=2 * GIB,
        gt=0,
        validation_alias=AliasChoices("MISMO_MAX_UPLOAD_BYTES", "MAX_UPLOAD_SIZE"),
        description="one upload",
    )
    upload_idle_seconds: float = Field(
        default=3600.0, gt=0, description="an unfinished upload is removed after this time without a chunk"
    )
    max_track_seconds: float = Field(default=6 * 3600.0, gt=0, description="longest track that is accepted")

    # Blob storage
    blob_container: str = Field(
        default="",
        description="container that results go to and jobs may name sources in: az://container/prefix, "
        "s3://bucket/prefix or file:///folder (the prefix may be missing); empty: none (docs/storage.md)",
    )
    blob_container_name: str = Field(
        default="",
        validation_alias=AliasChoices("MISMO_BLOB_CONTAINER_NAME", "BLOB_CONTAINER_NAME"),
        description="older form of MISMO_BLOB_CONTAINER: a container in the account of the connection string",
    )
    azure_storage_connection_string: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=AliasChoices(
            "MISMO_AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_CONNECTION_STRING"
        ),
        description="account of the containers in Azure, with its key or a SAS",
    )
    blob_sources: list[str] = Field(
        default_factory=lambda: list[str](),
        description="further places that jobs may name blobs in: az://container/prefix, s3://bucket/prefix or "
        "https://host/path",
    )
    blob_timeout: float = Field(
        default=30.0, gt=0, description="seconds one request to a container may take; it has at most 5 MiB"
    )
    s3_endpoint: str = Field(
        default="",
        description="address of the S3 service, http(s)://host:port; empty: Amazon's in the region",
    )
    s3_region: str = Field(default="us-east-1", description="region of the buckets in S3")
    s3_access_key_id: SecretStr = Field(
        default=SecretStr(""),
        description="key id for S3; empty: the credentials that AWS_... variables or the machine's role give",
    )
    s3_secret_access_key: SecretStr = Field(default=SecretStr(""), description="key of that key id")
    s3_session_token: SecretStr = Field(
        default=SecretStr(""), description="session token, if the key for S3 is a temporary one"
    )

    # Streams and shutdown
    max_streams: int = Field(
        default=2048,
        ge=1,
        description="most streams open at once, over gRPC and WebSocket, all kinds together",
    )
    stream_idle_seconds: float = Field(
        default=120.0,
        gt=0,
        description="a stream ends if its client sends nothing that it waits for, or reads nothing, for this time",
    )
    grace_seconds: float = Field(
        default=4.0, gt=0, description="longest time from SIGTERM to the end of the process"
    )

    # Callbacks
    callback_timeout: float = Field(
        default=30.0,
        gt=0,
        validation_alias=AliasChoices("MISMO_CALLBACK_TIMEOUT", "CALLBACK_TIMEOUT"),
        description="seconds one attempt may take",
    )
    callback_retries: int = Field(
        default=3,
        ge=0,
        le=30,
        validation_alias=AliasChoices("MISMO_CALLBACK_RETRIES", "CALLBACK_RETRIES"),
        description="attempts after the first",
    )
    callback_retry_delay: float = Field(
        default=2.0,
        ge=0,
        validation_alias=AliasChoices("MISMO_CALLBACK_RETRY_DELAY", "CALLBACK_RETRY_DELAY"),
        description="seconds before the first retry; doubles with each further one",
    )
    callback_secret: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=AliasChoices("MISMO_CALLBACK_SECRET", "CALLBACK_SECRET"),
        description="key that signs callbacks: X-Mismo-Signature is the HMAC-SHA256 of X-Mismo-Timestamp, a dot and "
        "the body",
    )
    callback_allowed_hosts: list[str] = Field(
        default_factory=lambda: list[str](),
        description="host names, *.domain patterns and address ranges that callbacks may go to; "
        "empty: any host that is not always forbidden, such as a cloud's metadata service",
    )

    @field_validator("device")
    @classmethod
    def _without_gpu(cls, value: str) -> str:
        for name in USE_GPU_NAMES:
            if said := os.environ.get(name):
                try:
                    allowed = TypeAdapter(bool).validate_python(said)
                except ValidationError:
                    raise ValueError(
                        f"{name} must be true or false; or set DEMUCS_DEVICE=cpu instead"
                    ) from None
                return value if allowed or value != "auto" else "cpu"
        return value

    @field_validator("http_allowed_hosts", "callback_allowed_hosts")
    @classmethod
    def _hosts(cls, value: list[str], info: ValidationInfo) -> list[str]:
        for entry in value:
            if entry == "*" and info.field_name == "http_allowed_hosts":
                continue
            try:
                ip_network(entry, strict=False)
            except ValueError:
                if not _HOST_PATTERN.fullmatch(entry):
                    raise ValueError(
                        f"{entry!r} is no host name (app-server), pattern (*.example.com) or address range "
                        "(10.0.0.0/8); give it without scheme and port"
                    ) from None
        return value

    @field_validator("jobs_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()
