"""All settings of the server, from the command line or the environment."""

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
"""Older names in the environment: false makes the device "auto" the CPU."""

MIB = 1 << 20
GIB = 1 << 30

_HOST_PATTERN = re.compile(r"(\*\.)?[^\W_]([\w.-]*\w)?\.?")


class Settings(BaseSettings):
    """One frozen value, passed to whatever needs it.

    Every name can be given in the environment as `MISMO_<NAME>`; the older names of the
    app server's contract (`DEMUCS_MODEL`, `JOBS_DIR`, ...) are honoured as well. Aliases list
    environment names only, or the bare word (`MODEL`, `DEVICE`) would be read as well.
    """

    model_config = SettingsConfigDict(
        env_prefix="MISMO_", frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True
    )

    # Listening
    host: str = Field(default="127.0.0.1", description="address both ports listen on; 0.0.0.0 for all")
    grpc_port: int = Field(default=50051, ge=0, le=65535, description="0 picks a free one")
    http_port: int = Field(
        default=8000,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("MISMO_HTTP_PORT", "SERVER_PORT"),
        description="0 picks a free one",
    )
    http_allowed_hosts: list[str] = Field(
        default_factory=lambda: list[str](),
        description="names and *.domain patterns by which HTTP clients may call this server (Host) besides "
        "addresses, localhost, the machine's name and names without a dot, and hosts whose web pages may use it "
        "(Origin); *: any",
    )
    ready_file: Path | None = Field(
        default=None, description="gets grpc_port, http_port and pid as JSON once jobs are accepted"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least severe log lines that are written"
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
        description="what a job gets that names no model; mismo_lite where its weights cannot be had",
    )
    model_dirs: list[Path] = Field(
        default_factory=lambda: list[Path](),
        description="folders with <name>.yaml and .th or .safetensors files",
    )
    keep_models_warm: bool = Field(
        default=True,
        validation_alias=AliasChoices("MISMO_KEEP_MODELS_WARM", "KEEP_DEMUCS_LOADED"),
        description="load the default model at start and keep models between jobs",
    )
    model_memory_bytes: int = Field(
        default=4 * GIB, gt=0, description="warm models together; the least recently used goes first"
    )
    hub: bool = Field(default=True, description="fetch missing weights from the model hub, in the background")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="of the forward; auto: bf16 where it is measured to be faster, else fp32"
    )
    max_batch: int = Field(
        default=0, ge=0, le=64, description="segments a forward; 0: 1 on the CPU, 8 on CUDA"
    )
    cpu_threads: int = Field(default=0, ge=0, description="threads of one forward on the CPU; 0: all cores")
    max_concurrent_jobs: int = Field(
        default=4,
        ge=1,
        validation_alias=AliasChoices("MISMO_MAX_CONCURRENT_JOBS", "MAX_CONCURRENT_ANALYSIS"),
        description="jobs decoded and held open at once; others wait in the queue, highest priority first",
    )

    # Jobs and files
    jobs_dir: Path = Field(
        default=Path("jobs"),
        validation_alias=AliasChoices("MISMO_JOBS_DIR", "JOBS_DIR"),
        description="job store, uploads and results, a folder for each job",
    )
    queue_capacity: int = Field(default=256, ge=1, description="jobs queued or running at once")
    job_retention_hours: float = Field(
        default=24.0,
        gt=0,
        validation_alias=AliasChoices("MISMO_JOB_RETENTION_HOURS", "JOB_RETENTION_HOURS"),
        description="a finished job and its files go after this long, unless it asked for another time",
    )
    disk_budget_bytes: int = Field(default=0, ge=0, description="finished results kept at most; 0: no limit")
    disk_reserve_bytes: int = Field(default=256 * MIB, ge=0, description="free space that is never used up")
    stem_format: Literal["wav"] = Field(
        default="wav",
        validation_alias=AliasChoices("MISMO_STEM_FORMAT", "STEM_FORMAT"),
        description="of the stem files in the jobs folder",
    )
    allow_file_paths: bool = Field(default=True, description="whether a job may name a file by its path")
    allowed_path_prefixes: list[Path] = Field(
        default_factory=lambda: list[Path](), description="roots that source paths may lie in; empty: none"
    )
    max_upload_bytes: int = Field(
        default=2 * GIB,
        gt=0,
        validation_alias=AliasChoices("MISMO_MAX_UPLOAD_BYTES", "MAX_UPLOAD_SIZE"),
        description="one upload",
    )
    upload_idle_seconds: float = Field(
        default=3600.0, gt=0, description="an unfinished upload is removed after this long"
    )
    max_track_seconds: float = Field(default=6 * 3600.0, gt=0, description="longer tracks are refused")

    # Streams and shutdown
    max_streams: int = Field(
        default=2048, ge=1, description="server streams open at once, all kinds together"
    )
    stream_idle_seconds: float = Field(
        default=120.0, gt=0, description="a stream whose client grants no credit this long ends"
    )
    grace_seconds: float = Field(default=4.0, gt=0, description="SIGTERM to exit, at most")

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
        description="seconds before the first retry; doubles with each",
    )
    callback_secret: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=AliasChoices("MISMO_CALLBACK_SECRET", "CALLBACK_SECRET"),
        description="signs callbacks: X-Mismo-Signature is the HMAC-SHA256 of X-Mismo-Timestamp, a dot and the body",
    )
    callback_allowed_hosts: list[str] = Field(
        default_factory=lambda: list[str](),
        description="host names, *.domain patterns and address ranges that callbacks may go to; "
        "empty: any but those where none ever goes",
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
                        f"{name} must be true or false; DEMUCS_DEVICE=cpu says it better"
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
