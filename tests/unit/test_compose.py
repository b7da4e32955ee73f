"""compose.yaml against what it builds on: the Dockerfiles, the settings, the check of callbacks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from mismo_grpc.delivery.guard import UrlGuard, parse_url
from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.settings import USE_GPU_NAMES, Settings
from scripts.make_docs import environment_names
from tests.support.dockerfile import Dockerfile, Stage, parse

ROOT = Path(__file__).resolve().parents[2]
SERVERS = ("mismo", "analysis-worker", "generation-worker")
WORKERS = {"mismo": {8001, 8002}, "analysis-worker": {8001}, "generation-worker": {8002}}
"""On which of the workers' ports each server is, on the host."""
OF_THE_WORKERS = {"AZURE_STORAGE_CONNECTION_STRING", "BLOB_CONTAINER_NAME", "MOCK_GENERATION"}
HADOLINT = Path(sys.executable).parent / "hadolint"
DOCKERFILES = ("Dockerfile", "examples/workers/Dockerfile")


def interpolated(text: str) -> str:
    """What compose makes of the text in an empty environment."""
    return re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file with its anchors and defaults filled in."""
    return yaml.safe_load(interpolated((ROOT / "compose.yaml").read_text()))


def dockerfile_of(service: dict[str, Any]) -> Dockerfile:
    return parse((ROOT / service["build"]["context"] / "Dockerfile").read_text())


def stage_of(service: dict[str, Any]) -> Stage:
    return dockerfile_of(service).target(service["build"]["target"])


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_dockerfile_has_no_faults_and_names_no_registry(name: str) -> None:
    done = subprocess.run([HADOLINT, "--no-color", str(ROOT / name)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == ""
    stages = parse((ROOT / name).read_text()).stages
    bases = {stage.base for stage in stages.values()} - stages.keys()
    assert bases <= {"python:3.11-slim", "node:22-slim"}


def test_every_image_is_built_here(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["pull_policy"] == "build", name
        assert stage_of(service).user not in ("root", "0"), name
        args = service["build"].get("args", [])
        known = (
            {
                step.text.partition("=")[0]
                for step in dockerfile_of(service).stages["build"].steps
                if step.name == "ARG"
            }
            if args
            else set()
        )
        assert set(args) <= known, name


def test_a_service_waits_for_services_that_can_come_to_that_state(compose: dict[str, Any]) -> None:
    services = compose["services"]
    waits = [
        (name, waited, how["condition"])
        for name, service in services.items()
        for waited, how in service.get("depends_on", {}).items()
    ]
    assert ("example", "mismo", "service_healthy") in waits
    for name, waited, condition in waits:
        other = services[waited]
        if condition == "service_healthy":
            assert stage_of(other).healthcheck, (name, waited)
        else:
            assert condition == "service_completed_successfully"
            assert "restart" not in other, (name, waited)
        # What a service without a profile waits for must not have one either.
        assert set(other.get("profiles", [])) <= set(services[name].get("profiles", [])), (name, waited)


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_publishes_its_workers_ports_for_the_host_alone(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    mapped = [entry.rsplit(":", 2) for entry in service["ports"]]
    assert {address for address, _, _ in mapped} == {"127.0.0.1"}
    assert {int(port) for _, _, port in mapped} == set(stage_of(service).ports)
    http_port = Settings.model_fields["http_port"].default
    assert {int(host) for _, host, port in mapped if int(port) == http_port} == WORKERS[name]


def test_two_servers_can_run_beside_each_other(compose: dict[str, Any]) -> None:
    published = [
        entry.rsplit(":", 1)[0]
        for name in ("analysis-worker", "generation-worker")
        for entry in compose["services"][name]["ports"]
    ]
    assert len(set(published)) == len(published)


def test_servers_share_models_and_never_jobs(compose: dict[str, Any]) -> None:
    jobs: set[str] = set()
    for name in SERVERS:
        service = compose["services"][name]
        stage = stage_of(service)
        mounted = {place: volume for volume, place in (entry.split(":") for entry in service["volumes"])}
        assert set(mounted) <= set(stage.volumes)
        assert set(mounted.values()) <= compose["volumes"].keys()
        assert mounted["/models"] == "models"
        (of_jobs,) = [
            place for place in mounted if PurePosixPath(stage.env["JOBS_DIR"]).is_relative_to(place)
        ]
        jobs.add(mounted[of_jobs])
    assert len(jobs) == len(SERVERS)


def test_azurite_keeps_its_blobs_in_a_volume(compose: dict[str, Any]) -> None:
    service = compose["services"]["azurite"]
    (volume, place) = service["volumes"][0].split(":")
    assert volume in compose["volumes"]
    stage = stage_of(service)
    assert stage.volumes == (place,)
    assert stage.command[stage.command.index("--location") + 1] == place


@pytest.mark.parametrize("name", SERVERS)
def test_the_environment_of_a_server_is_known_to_it(compose: dict[str, Any], name: str) -> None:
    environment = compose["services"][name]["environment"]
    known = {
        alias for field, info in Settings.model_fields.items() for alias in environment_names(field, info)
    }
    assert environment.keys() >= OF_THE_WORKERS | {"USE_GPU", "DEMUCS_MODEL"}
    assert environment.keys() <= known | set(USE_GPU_NAMES)
    assert all(isinstance(value, str) for value in environment.values())


@pytest.mark.parametrize("name", SERVERS)
def test_docker_waits_longer_than_the_server_needs_to_stop(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    period = float(service["stop_grace_period"].removesuffix("s"))
    assert period >= float(service["environment"]["MISMO_GRACE_SECONDS"]) + 5


async def resolved(_host: str, _port: int) -> list[str]:
    return ["172.18.0.5"]


async def elsewhere(_host: str, _port: int) -> list[str]:
    return ["203.0.114.7"]


async def test_callbacks_reach_the_network_of_compose_and_nothing_outside(compose: dict[str, Any]) -> None:
    allowed = json.loads(compose["services"]["mismo"]["environment"]["MISMO_CALLBACK_ALLOWED_HOSTS"])
    guard = UrlGuard(resolved, allowed)
    for url in (
        "http://api:8080/api/generation/callback",
        "http://host.docker.internal:5000/",
        "http://192.168.1.9/",
    ):
        assert await guard.addresses(guard.check_callback_url(url)) == ["172.18.0.5"]
    assert ip_address("203.0.114.7").is_global
    with pytest.raises(InvalidFieldError, match="MISMO_CALLBACK_ALLOWED_HOSTS"):
        guard.check_callback_url("http://203.0.114.7/")
    with pytest.raises(Exception, match="not one that callbacks may go to"):
        await UrlGuard(elsewhere, allowed).addresses(parse_url("http://api:8080/"))


def test_the_example_asks_the_servers_by_their_names(compose: dict[str, Any]) -> None:
    example = compose["services"]["example"]
    for name in ("ANALYSIS_URL", "GENERATION_URL"):
        target = parse_url(example["environment"][name])
        assert target.host in example["depends_on"]
        assert target.port in stage_of(compose["services"][target.host]).ports
    (mount,) = example["volumes"]
    source, place, _ = mount.split(":")
    assert (ROOT / source).is_file()
    assert example["command"] == [place]
    create = compose["services"]["create-container"]
    assert (ROOT / create["build"]["context"] / create["entrypoint"][1]).is_file()


def test_the_file_for_cuda_changes_every_server_to_the_target_cuda(compose: dict[str, Any]) -> None:
    cuda = yaml.safe_load((ROOT / "compose.cuda.yaml").read_text())
    assert tuple(cuda["services"]) == SERVERS
    for name, service in cuda["services"].items():
        assert service["image"] != compose["services"][name]["image"]
        assert service["build"]["target"] in parse((ROOT / "Dockerfile").read_text()).stages
        assert service["environment"] == {"USE_GPU": "true"}
