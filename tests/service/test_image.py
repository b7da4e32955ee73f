"""What ships: the Dockerfile's image and the wheel in it, each started the documented way."""

from __future__ import annotations

import csv
import json
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import soundfile

from mismo_grpc.settings import Settings
from tests.support.calls import PATIENCE
from tests.support.dockerfile import Context, Copy, Dockerfile, IgnoreRules, parse
from tests.support.image import Image
from tests.support.process import POLL_SECONDS, ROOT
from tests.support.tracks import write_track

OPTIONS = {
    "MISMO_HTTP_PORT": "8000",
    "MISMO_HUB": "false",
    "MISMO_CPU_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
"""Of every server, by the numbers of the Dockerfile: no model from elsewhere, so mismo_lite's weights must be there."""
SOURCE_ROOTS = {"mismo_grpc": ".", "mismo": "generated", "mismo_client": "clients/python"}
"""The packages of the wheel, and the folders that hold them."""


def heavy(test: Any) -> Any:
    """The first of these installs every package of the lock."""
    for mark in (pytest.mark.heavy, pytest.mark.service, pytest.mark.timeout(900)):
        test = mark(test)
    return test


@pytest.fixture(scope="module")
def dockerfile() -> Dockerfile:
    return parse((ROOT / "Dockerfile").read_text())


@pytest.fixture(scope="module")
def context() -> Context:
    return Context(ROOT, IgnoreRules((ROOT / ".dockerignore").read_text()))


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("README.md", True),
        ("kept", False),
        ("kept/deep/file.py", False),
        ("other/kept/file.py", True),
        ("clients/python/a.py", False),
        ("clients/node/a.ts", True),
        ("kept/deep/__pycache__/file.txt", True),
        ("kept/file.pyc", True),
        ("kept/file.pyc.txt", False),
        ("kept/secret/key", True),
        ("kept/secret/public", False),
    ],
)
def test_the_last_rule_that_matches_a_path_or_a_folder_above_it_decides(path: str, ignored: bool) -> None:
    rules = IgnoreRules(
        "# a comment\n*\n\n!kept\n!/clients/python/\n**/__pycache__\n**/*.pyc\nkept/secr?t\n!kept/secret/public\n"
    )
    assert rules.ignores(PurePosixPath(path)) is ignored


def test_what_is_not_read_here_is_refused(tmp_path: Path) -> None:
    for text in ('FROM a\nSHELL ["sh"]', "FROM a b c", "RUN true"):
        with pytest.raises(ValueError, match="not read here"):
            parse(text)
    with pytest.raises(ValueError, match="not read here"):
        _ = parse("FROM a\nCOPY --chown=1 a b").target().copies
    with pytest.raises(ValueError, match="not read here"):
        IgnoreRules("[ab]")
    for source in ("*/a.py", "a?.py", "[a].py"):
        with pytest.raises(ValueError, match="wildcards"):
            Context(tmp_path, IgnoreRules("")).files(source)


SMALL = """
FROM base AS made
ARG WORDS="two"
WORKDIR /made
RUN mkdir /kept && echo $WORDS >/kept/words
FROM base AS unused
RUN false
FROM base AS common
ENV WHERE=/kept \\
    PATH="/kept/bin:$PATH"
WORKDIR /work
COPY *.txt sub ./
USER 7
FROM common
ENV PATH="/more:$PATH"
COPY --from=made /kept /kept
RUN cat "$WHERE/words" a.txt >both && echo "$PATH" >path
"""


def test_a_stage_has_what_its_base_says() -> None:
    dockerfile = parse(SMALL)
    stage = dockerfile.target()
    assert (stage.name, stage.base, stage.user, stage.workdir) == ("3", "common", "7", "/work")
    assert stage.env == {"WHERE": "/kept", "PATH": "/more:/kept/bin:$PATH"}
    assert stage.copies == [Copy(("/kept",), "/kept", "made")]
    assert dockerfile.target("common").env["PATH"] == "/kept/bin:$PATH"
    assert [needed.name for needed in dockerfile.needed("3")] == ["made", "common", "3"]


@pytest.mark.parametrize(("build_args", "words"), [({}, "two"), ({"WORDS": "one"}, "one")])
def test_the_stages_of_a_target_are_built_and_no_other(
    build_args: dict[str, str], words: str, tmp_path: Path
) -> None:
    folder = tmp_path / "context"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "secret.txt", "sub/c.txt"):
        (folder / name).write_text(f"{name}\n")
    context = Context(folder, IgnoreRules("secret.txt"))
    root = tmp_path / "root"
    root.mkdir()
    image = Image(root, parse(SMALL), context, build_args=build_args)
    image.build()
    assert (image.tree / "work/both").read_text() == f"{words}\na.txt\n"
    assert {path.name for path in (image.tree / "work").iterdir()} == {
        "a.txt",
        "b.txt",
        "c.txt",
        "both",
        "path",
    }
    assert {path.name for path in image.tree.iterdir()} == {"work", "kept"}
    assert (image.tree / "work/path").read_text().startswith(f"{image.tree}/kept/bin:") is False
    assert (image.tree / "work/path").read_text().startswith(f"/more:{image.tree}/kept/bin:")
    assert {path.name for path in (root / "stages").iterdir()} == {"made", "common"}


def test_the_dockerignore_lets_in_all_that_the_dockerfile_copies(
    dockerfile: Dockerfile, context: Context
) -> None:
    everything = Context(ROOT, IgnoreRules("**/__pycache__"))
    sources = {
        source
        for stage in dockerfile.stages.values()
        for copy in stage.copies
        if not copy.stage
        for source in copy.sources
    }
    assert "requirements-*.lock" in sources
    # Of these the image has only those that can be asked for in EXTRAS.
    locks = {path.name for path in context.files("requirements-*.lock")}
    assert locks == {"requirements-analysis.lock", "requirements-generation.lock"}
    for source in sources - {"requirements-*.lock"}:
        assert context.files(source) == everything.files(source), source


TARGETS = ("cpu", "cuda")


def test_the_default_target_is_the_cpu(dockerfile: Dockerfile) -> None:
    assert dockerfile.target() is dockerfile.target("cpu")


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_exposes_the_ports_it_serves_on_and_is_not_root(dockerfile: Dockerfile, target: str) -> None:
    stage = dockerfile.target(target)
    http_port = Settings.model_fields["http_port"].default
    assert stage.ports == (int(stage.env["MISMO_GRPC_PORT"]), http_port)
    assert stage.user == "10001:10001"
    assert stage.healthcheck
    for place in (stage.env["JOBS_DIR"], stage.env["TORCH_HOME"], stage.env["HF_HOME"]):
        assert any(PurePosixPath(place).is_relative_to(volume) for volume in stage.volumes), place


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_installed_in_the_stages_of_the_image_itself(dockerfile: Dockerfile, target: str) -> None:
    stage = dockerfile.target(target)
    while stage.base in dockerfile.stages:
        assert not any(step.name == "RUN" for step in stage.steps)
        stage = dockerfile.stages[stage.base]
    (run,) = [step.text for step in stage.steps if step.name == "RUN"]
    assert stage.name == "runtime"
    assert run.startswith("useradd")


@pytest.fixture(scope="module")
def image(dockerfile: Dockerfile, context: Context) -> Iterator[Image]:
    """The built image of the target cpu: gigabytes of packages, so it is built once and leaves nothing."""
    with TemporaryDirectory(prefix="mismo-image-") as root:
        image = Image(Path(root), dockerfile, context)
        image.build()
        yield image


@heavy
def test_the_image_has_the_packages_the_program_and_empty_volumes_only(image: Image) -> None:
    files = {path.relative_to(image.tree).as_posix() for path in image.tree.rglob("*") if not path.is_dir()}
    program = {file for file in files if not file.startswith("opt/venv/")}
    assert program == {"app/server.py", "app/LICENSE", "app/src/app.py", "app/scripts/healthcheck.py"}
    assert {path.name for path in image.tree.iterdir()} == {"app", "opt", "data", "models", "music"}


@heavy
def test_an_unknown_extra_ends_the_build_with_its_name(image: Image, dockerfile: Dockerfile) -> None:
    (step,) = [step for step in dockerfile.stages["build"].steps if "$EXTRAS" in step.text]
    with pytest.raises(AssertionError, match="EXTRAS: the image has no extra dev"):
        image.run(
            ["/bin/sh", "-c", step.text],
            image.built("build") / "build",
            image.environment | {"EXTRAS": "dev"},
        )


@heavy
def test_the_target_cuda_refuses_a_torch_without_cuda(image: Image, dockerfile: Dockerfile) -> None:
    """And accepts one that says it has CUDA, which is all that can be tried where no such build is installed."""
    (step,) = dockerfile.stages["build-cuda"].steps
    command = ["/bin/sh", "-c", step.text]
    folder = image.root / "torch-of-this-test"
    (folder / "torch").mkdir(parents=True)
    module = folder / "torch" / "__init__.py"
    environment = image.environment | {"PYTHONPATH": str(folder)}
    for cuda, refused in ((None, True), ("13.0", False)):
        module.write_text(
            f"__version__ = '2.13.0'\nfrom types import SimpleNamespace\nversion = SimpleNamespace(cuda={cuda!r})\n"
        )
        if refused:
            with pytest.raises(
                AssertionError, match=r"torch 2\.13\.0 has no CUDA: build the target cuda without"
            ):
                image.run(command, image.root, environment)
        else:
            image.run(command, image.root, environment)


def separate(image: Image, track: Path, folder: Path, port: int, *options: str) -> None:
    """Separates a track with the installed `mismo`, outside of the checkout and of the image's folder."""
    image.run(
        ["mismo", "separate", str(track), "-o", "out", "--server", f"127.0.0.1:{port}", *options], folder
    )
    frames = soundfile.info(track).frames
    stems = {path.stem: soundfile.info(path).frames for path in (folder / "out" / track.stem).iterdir()}
    assert stems == dict.fromkeys(["drums", "bass", "other", "vocals"], frames)


@heavy
def test_the_image_becomes_healthy_and_separates_a_track(image: Image, tmp_path: Path) -> None:
    track = write_track(Path(image.placed("/music")) / "track.wav")
    with image.running(**OPTIONS) as process:
        image.wait_until_healthy(process)
        separate(image, track, tmp_path, image.ports[50051])
        assert list(Path(image.placed("/data/jobs")).glob("*/stems/vocals.wav"))
    assert process.returncode == 0, image.log
    assert not image.is_healthy()


@heavy
def test_the_image_has_what_an_app_server_starts(image: Image) -> None:
    command = ["python", "-m", "uvicorn", "src.app:app", "--host", "127.0.0.1", "--port", "8000"]
    with image.running(command, **OPTIONS) as process:
        image.wait_until_healthy(process)
        with urllib.request.urlopen(f"http://127.0.0.1:{image.ports[8000]}/health") as answer:
            assert json.load(answer)["status"] == "ok"


@pytest.fixture(scope="module")
def wheel(image: Image) -> Path:
    """The wheel of the checkout, made by the project's build backend."""
    image.run(["pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(image.root), str(ROOT)], image.root)
    (wheel,) = image.root.glob("*.whl")
    return wheel


@heavy
def test_the_wheel_holds_every_file_of_its_packages(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {
        path.relative_to(ROOT / root).as_posix()
        for package, root in SOURCE_ROOTS.items()
        for path in (ROOT / root / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {"mismo_grpc/py.typed", "mismo_client/py.typed", "mismo_grpc/jobs/store/sql/queries.sql"} < sources
    assert {name for name in names if ".dist-info/" not in name} == sources | {"mismo_command.py"}


@heavy
def test_the_image_has_the_wheel_installed_byte_for_byte(image: Image, wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (record,) = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
    (installed,) = image.tree.glob(f"opt/venv/lib/python*/site-packages/{record}")
    built = {name: digest for name, digest, _ in csv.reader(archive.read(record).decode().splitlines())}
    there = {name: digest for name, digest, _ in csv.reader(installed.read_text().splitlines())}
    assert len(built) > 100
    assert {name: there.get(name) for name in built} == built


@heavy
def test_the_installed_wheel_serves_a_job_far_from_the_checkout(image: Image, tmp_path: Path) -> None:
    modules = "mismo_grpc.app, mismo_client, mismo_command, mismo.analysis.v1.job_pb2"
    code = f"import sys, {modules}\nprint(*(sys.modules[name].__file__ for name in {modules.split(', ')}))"
    for place in image.run(["python", "-c", code], tmp_path).split():
        assert Path(place).is_relative_to(image.tree / "opt/venv"), place

    ready = tmp_path / "ready.json"
    command = ["mismo-server", "--grpc-port", "0", "--http-port", "0", "--ready-file", str(ready)]
    track = write_track(tmp_path / "track.wav")
    with image.running(command, tmp_path, **OPTIONS) as process:
        deadline = time.monotonic() + PATIENCE
        while not ready.exists():
            assert process.poll() is None, image.log
            assert time.monotonic() < deadline, image.log
            time.sleep(POLL_SECONDS)
        separate(image, track, tmp_path, json.loads(ready.read_bytes())["grpc_port"], "--upload")
        assert list((tmp_path / "jobs").glob("*/stems/vocals.wav"))
        address = f"http://127.0.0.1:{json.loads(ready.read_bytes())['http_port']}"
        for path in ("/", "/status", "/docs", "/static/css/tokens.css", "/static/status/main.js"):
            with urllib.request.urlopen(address + path) as answer:
                assert answer.read(), path
    assert process.returncode == 0, image.log
