"""The house keeps its promises: docs fit the code, locks fit the ranges, every error has its place."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from packaging.requirements import Requirement
from packaging.version import Version
from pydantic import SecretStr, ValidationError

import mismo_grpc
from mismo_grpc import errors
from mismo_grpc.settings import USE_GPU_NAMES, Settings
from mismo_grpc.wire_forms import WIRE
from scripts.check_generated import differences
from scripts.healthcheck import serving
from scripts.lock import EXTRAS, lock_of, locked_names, normalised, public, render
from scripts.make_docs import environment_names, stale

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKED_EXTRAS = ["analysis", "plot", "generation", "bench", "dev"]
LOCKS = ["requirements.lock", *(f"requirements-{extra}.lock" for extra in LOCKED_EXTRAS)]

# What the app server and its workers set, and the setting it must reach.
LEGACY_NAMES = {
    "MISMO_ALLOW_FILE_PATHS": ("allow_file_paths", "false", False),
    "MISMO_ALLOWED_PATH_PREFIXES": ("allowed_path_prefixes", '["/a","/b"]', [Path("/a"), Path("/b")]),
    "CALLBACK_TIMEOUT": ("callback_timeout", "7.5", 7.5),
    "CALLBACK_RETRIES": ("callback_retries", "9", 9),
    "CALLBACK_RETRY_DELAY": ("callback_retry_delay", "0.5", 0.5),
    "CALLBACK_SECRET": ("callback_secret", "s3cret", SecretStr("s3cret")),
    "DEMUCS_MODEL": ("model", "mdx_extra", "mdx_extra"),
    "DEMUCS_DEVICE": ("device", "cuda:1", "cuda:1"),
    "KEEP_DEMUCS_LOADED": ("keep_models_warm", "false", False),
    "JOBS_DIR": ("jobs_dir", "/somewhere", Path("/somewhere")),
    "STEM_FORMAT": ("stem_format", "wav", "wav"),
    "MAX_CONCURRENT_ANALYSIS": ("max_concurrent_jobs", "2", 2),
    "MAX_UPLOAD_SIZE": ("max_upload_bytes", "1000", 1000),
    "JOB_RETENTION_HOURS": ("job_retention_hours", "1.5", 1.5),
    "SERVER_PORT": ("http_port", "8123", 8123),
    "BLOB_CONTAINER_NAME": ("blob_container_name", "audio-files", "audio-files"),
    "AZURE_STORAGE_CONNECTION_STRING": ("azure_storage_connection_string", "a=b", SecretStr("a=b")),
    "USE_GPU": ("device", "false", "cpu"),
    "MISMO_USE_GPU": ("device", "0", "cpu"),
}

# A valid value for each kind of setting that is no setting's default.
OTHER_VALUES = {
    "device": "cpu",
    "log_level": "debug",
    "precision": "fp32",
    "hub": "false",
    "keep_models_warm": "false",
    "keep_analysis_warm": "false",
    "mock_generation": "false",
    "musicgen_model": "someone/a-model",
    "blob_sources": '["az://tracks"]',
    "allow_file_paths": "false",
    "model_dirs": '["/models"]',
    "http_allowed_hosts": '["dj.example.com", "*.example.com"]',
    "callback_allowed_hosts": '["app-server", "*.example.com", "10.0.0.0/8"]',
    "allowed_path_prefixes": '["/music"]',
}


def error_classes(root: type[errors.MismoError]) -> Iterator[type[errors.MismoError]]:
    yield root
    for child in root.__subclasses__():
        yield from error_classes(child)


@pytest.fixture
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, field in Settings.model_fields.items():
        for variable in environment_names(name, field):
            monkeypatch.delenv(variable, raising=False)
    for variable in USE_GPU_NAMES:
        monkeypatch.delenv(variable, raising=False)
    return monkeypatch


def test_docs_say_what_the_code_says() -> None:
    assert stale() == []


# stem_format has one value only, its default.
@pytest.mark.parametrize("name", [name for name in Settings.model_fields if name != "stem_format"])
def test_every_documented_variable_sets_its_setting(name: str, empty_environment: pytest.MonkeyPatch) -> None:
    before = getattr(Settings(), name)
    value = OTHER_VALUES.get(name, "5")
    for variable in environment_names(name, Settings.model_fields[name]):
        with empty_environment.context() as environment:
            environment.setenv(variable, value)
            after = getattr(Settings(), name)
        assert after != before, variable


@pytest.mark.parametrize("variable", LEGACY_NAMES)
def test_older_environment_names_are_honoured(variable: str, empty_environment: pytest.MonkeyPatch) -> None:
    name, text, value = LEGACY_NAMES[variable]
    empty_environment.setenv(variable, text)
    assert getattr(Settings(), name) == value


def test_the_older_name_of_the_device_speaks_of_auto_alone(empty_environment: pytest.MonkeyPatch) -> None:
    empty_environment.setenv("USE_GPU", "false")
    assert (Settings(device="auto").device, Settings(device="cuda:1").device) == ("cpu", "cuda:1")
    empty_environment.setenv("MISMO_USE_GPU", "true")
    assert Settings().device == "auto"
    empty_environment.setenv("MISMO_USE_GPU", "perhaps")
    with pytest.raises(ValidationError, match="MISMO_USE_GPU must be true or false"):
        Settings()


def test_the_older_name_of_the_device_is_documented() -> None:
    documented = (ROOT / "docs" / "settings.md").read_text()
    assert all(re.search(rf"\b{name}\b", documented) for name in USE_GPU_NAMES)


def test_every_setting_says_what_it_means() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_bare_words_in_the_environment_are_not_settings(empty_environment: pytest.MonkeyPatch) -> None:
    documented = {v for name, field in Settings.model_fields.items() for v in environment_names(name, field)}
    before = Settings()
    for name in Settings.model_fields:
        if name.upper() not in documented:
            empty_environment.setenv(name.upper(), OTHER_VALUES.get(name, "5"))
    assert Settings() == before


@pytest.mark.parametrize("entry", ["", "http://app", "app:3000", "10.0.0.0/33", "a b", "*", "*."])
def test_an_allowed_host_that_is_none_is_named(entry: str) -> None:
    with pytest.raises(ValidationError, match="without scheme and port"):
        Settings(callback_allowed_hosts=["app-server", entry])
    if entry != "*":
        with pytest.raises(ValidationError, match="without scheme and port"):
            Settings(http_allowed_hosts=["app-server", entry])


def test_the_secret_shows_in_no_log_line() -> None:
    assert "hush" not in repr(Settings(callback_secret=SecretStr("hush")))


def test_what_is_passed_wins_over_the_environment(empty_environment: pytest.MonkeyPatch) -> None:
    empty_environment.setenv("DEMUCS_MODEL", "mdx")
    empty_environment.setenv("MISMO_GRPC_PORT", "7")
    assert (Settings(model="mdx_extra").model, Settings(grpc_port=8).grpc_port) == ("mdx_extra", 8)
    empty_environment.setenv("MISMO_MODEL", "hdemucs_mmi")
    assert Settings().model == "hdemucs_mmi"


def test_every_error_class_has_its_wire_form_and_nothing_else_has() -> None:
    assert set(WIRE) == set(error_classes(errors.MismoError))


def test_the_drawn_error_tree_is_the_real_one() -> None:
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"^    ((?:│   |    )*(?:├── |└── )?)(\w+Error)\b", line):
            depth = len(match.group(1)) // 4
            path[depth:] = [match.group(2)]
            drawn[path[-1]] = path[-2] if depth else "Exception"
    real = {
        error.__name__: error.__base__.__name__
        for error in error_classes(errors.MismoError)
        if error.__base__
    }
    assert drawn == real


def test_reasons_are_upper_snake_and_shared_only_by_internal_errors() -> None:
    reasons = [wire.reason for wire in WIRE.values()]
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]+[A-Z0-9]", reason) for reason in reasons)
    assert {reason for reason in reasons if reasons.count(reason) > 1} <= {"INTERNAL"}


def test_only_what_says_so_is_worth_a_second_try() -> None:
    wires = list(WIRE.values())
    assert all(wire.retryable for wire in wires if wire.grpc_code in {"UNAVAILABLE", "RESOURCE_EXHAUSTED"})
    assert not any(wire.retryable for wire in wires if wire.grpc_code in {"INVALID_ARGUMENT", "NOT_FOUND"})


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_name_exact_public_versions_and_no_place_to_get_them(lock: str) -> None:
    lines = [line for line in (ROOT / lock).read_text().splitlines() if not line.startswith("#")]
    pins = [line for line in lines if line != "-r requirements.lock"]
    assert pins
    assert [line for line in pins if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line)] == []
    assert [line for line in pins if line.startswith(("nvidia-", "triton"))] == []


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        ("requirements.lock", PROJECT["dependencies"]),
        *((f"requirements-{extra}.lock", PROJECT["optional-dependencies"][extra]) for extra in LOCKED_EXTRAS),
    ],
)
def test_locks_lie_within_the_ranges_of_the_project(lock: str, requirements: list[str]) -> None:
    pins = dict(
        line.split("==") for line in (ROOT / lock).read_text().splitlines() if not line.startswith(("#", "-"))
    )
    for requirement in map(Requirement, requirements):
        assert Version(pins[normalised(requirement.name)]) in requirement.specifier, str(requirement)


def test_a_package_has_the_same_version_in_every_lock() -> None:
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        for line in (ROOT / lock).read_text().splitlines():
            if not line.startswith(("#", "-")):
                name, version = line.split("==")
                versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}
    assert [lock_of(extra).name for extra in EXTRAS] == LOCKS[1:]


def made(*arguments: str) -> str:
    """What make would run in a checkout without an environment."""
    command = ["make", "-n", "--no-print-directory", "VENV=.venv-that-is-not-there", *arguments]
    # The make that runs the tests hands its own arguments down.
    environment = {
        name: text for name, text in os.environ.items() if name not in {"MAKEFLAGS", "MFLAGS", "EXTRAS"}
    }
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("target", ["demo", "run"])
def test_demo_and_run_install_the_extras_unless_they_are_left_out(target: str) -> None:
    with_extras, without = made(target), made(target, "EXTRAS=")
    assert "install -r requirements-analysis.lock" in with_extras
    assert "install -r requirements-plot.lock" in with_extras
    assert with_extras.index("AGPL") < with_extras.index("install -r requirements-analysis.lock")
    assert "requirements-" not in without
    assert "AGPL" not in without


def test_the_base_has_nothing_of_the_extras() -> None:
    base = {normalised(Requirement(text).name) for text in PROJECT["dependencies"]}
    locked = locked_names((ROOT / "requirements.lock").read_text().splitlines())
    for extra in ("analysis", "plot", "bench"):
        wanted = {normalised(Requirement(text).name) for text in PROJECT["optional-dependencies"][extra]}
        assert wanted & (base | locked) == set()


def test_the_lock_of_a_cpu_machine_installs_on_a_gpu_one() -> None:
    assert public("2.13.0+cpu") == public("2.13.0+cu130") == "2.13.0"
    text = render({"torch": "2.13.0", "av": "18.1.0"}, "requirements.lock")
    assert text.splitlines()[1:] == ["-r requirements.lock", "av==18.1.0", "torch==2.13.0"]
    assert locked_names(text.splitlines()) == {"av", "torch"}


def test_stubs_that_are_missing_stale_or_left_over_are_named(tmp_path: Path) -> None:
    committed, fresh = tmp_path / "committed", tmp_path / "fresh"
    for root, files in (
        (committed, {"a.py": "1", "b.py": "1", "d.py": "1"}),
        (fresh, {"a.py": "1", "b.py": "2", "c.py": "1"}),
    ):
        root.mkdir()
        for name, text in files.items():
            (root / name).write_text(text)
    assert differences(committed, fresh) == ["b.py: stale", "c.py: missing", "d.py: no .proto makes it"]
    assert differences(fresh, fresh) == []


def test_the_changelog_begins_with_the_version_that_is_shipped() -> None:
    heads = re.findall(r"^## \[?([^\]\s]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert mismo_grpc.__version__ in heads[:2]


async def test_the_healthcheck_believes_only_serving() -> None:
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()  # pyright: ignore[reportAttributeAccessIssue] - the stubs lack it
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        assert await asyncio.to_thread(serving, address)
        assert not await asyncio.to_thread(serving, address, "unknown")
        await servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        assert not await asyncio.to_thread(serving, address)
    finally:
        await server.stop(None)
    assert not await asyncio.to_thread(serving, address, timeout=0.2)
