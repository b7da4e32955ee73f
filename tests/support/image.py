"""Does a Dockerfile's steps in a folder, without a container engine, and runs what comes of them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.service.gateway.test_app_server_start import free_ports
from tests.support.calls import PATIENCE
from tests.support.dockerfile import Context, Dockerfile, Stage, Step, expanded

# In a folder there is one user, who installs for himself.
STAND_INS = {
    "useradd": "#!/bin/sh\n",
    "install": """#!/bin/sh
# Without an owner and a group.
skip=
for argument; do
    shift
    case $argument in
        -o|-g) skip=1 ;;
        *) [ -n "$skip" ] || set -- "$@" "$argument"; skip= ;;
    esac
done
PATH=/usr/bin:/bin exec install "$@"
""",
}
# How this machine reaches its package index.
OF_THE_CALLER = re.compile(r"PIP_.*|SSL_CERT_.*|.*_PROXY|.*_proxy|LANG|TMPDIR")
LEFT_OUT = {"PIP_NO_CACHE_DIR"}
"""It only keeps an image small, and would fetch torch anew for every run."""


class Image:
    """A target of the Dockerfile in the folder `root`, built stage by stage.

    Absolute paths of the Dockerfile lie below `root/image`, which each stage has in its turn and the target in the
    end. Its ports are free ones of this machine, its USER is who runs the tests, and its base image is an empty
    environment of their Python.
    """

    def __init__(
        self,
        root: Path,
        dockerfile: Dockerfile,
        context: Context,
        target: str = "",
        build_args: Mapping[str, str] | None = None,
    ) -> None:
        self.root = root
        self.tree = root / "image"
        self._dockerfile = dockerfile
        self._target = dockerfile.target(target)
        self._context = context
        self._build_args = build_args or {}
        self._python = root / "python"
        self._tops = sorted(set(_absolute_paths(dockerfile)))
        self.ports: dict[int, int] = {}
        """By the Dockerfile's number; other ones at each start."""

    @property
    def workdir(self) -> Path:
        """The folder of the image's WORKDIR."""
        return Path(self.placed(self._target.workdir))

    @property
    def bare_environment(self) -> dict[str, str]:
        """Nothing of the tests' own but the way to the package index."""
        path = [self.root / "stand-ins", self._python / "bin", "/usr/bin", "/bin"]
        return {
            **{name: value for name, value in os.environ.items() if OF_THE_CALLER.fullmatch(name)},
            "PATH": os.pathsep.join(map(str, path)),
            "HOME": str(Path.home()),
        }

    @property
    def environment(self) -> dict[str, str]:
        """That of the image's processes."""
        return self._with(self.bare_environment, self._target.env)

    def _with(self, environment: dict[str, str], variables: Mapping[str, str]) -> dict[str, str]:
        """An environment and the Dockerfile's variables, which may refer to it."""
        made = dict(environment)
        for name, value in variables.items():
            if name not in LEFT_OUT:
                made[name] = expanded(self.placed(value), made)
        return made

    def placed(self, text: str) -> str:
        """A part of the Dockerfile, with its paths and ports as they are here."""
        tops = "|".join(map(re.escape, self._tops))
        text = re.sub(rf"(?<![\w.~/-])({tops})(?![\w.-])", rf"{self.tree}\1", text)
        for port, free in self.ports.items():
            text = re.sub(rf"\b{port}\b", str(free), text)
        return text

    def build(self) -> None:
        """Builds the target and the stages it needs; raises AssertionError with the output of a step that fails."""
        self.run([sys.executable, "-m", "venv", str(self._python)], self.root, self.bare_environment)
        for name, script in STAND_INS.items():
            place = self.root / "stand-ins" / name
            place.parent.mkdir(exist_ok=True)
            place.write_text(script)
            place.chmod(0o755)
        for stage in self._dockerfile.needed(self._target.name):
            if stage.base in self._dockerfile.stages:
                _link(self.built(stage.base), self.tree)
            else:
                self.tree.mkdir()
            self._build(stage)
            if stage is not self._target:
                self.built(stage.name).parent.mkdir(exist_ok=True)
                # The next one has the same paths: scripts of a Python environment name theirs.
                self.tree.rename(self.built(stage.name))

    def built(self, stage: str) -> Path:
        """Where the files of a stage are kept once it is built."""
        return self.root / "stages" / stage

    def _build(self, stage: Stage) -> None:
        parent = self._dockerfile.stages.get(stage.base)
        environment = self._with(self.bare_environment, parent.env if parent else {})
        workdir = Path(self.placed(parent.workdir)) if parent else self.tree
        for step in stage.steps:
            match step.name:
                case "COPY":
                    self._copy(step, workdir)
                case "ENV":
                    environment = self._with(environment, step.pairs)
                case "ARG":
                    name, given, default = step.text.partition("=")
                    if name in self._build_args or given:
                        environment[name] = self._build_args.get(name, default.strip('"'))
                case "WORKDIR":
                    workdir = Path(self.placed(step.text))
                    workdir.mkdir(parents=True, exist_ok=True)
                case _:
                    self.run(["/bin/sh", "-c", self.placed(step.text)], workdir, environment)

    def _copy(self, step: Step, workdir: Path) -> None:
        copy = step.copy
        target = workdir / self.placed(copy.target)
        if copy.stage:
            for source in copy.sources:
                _link(self.built(copy.stage) / source.lstrip("/"), target)
        else:
            self._context.copy(copy.sources, target, folder=copy.target.endswith("/"))

    def run(self, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> str:
        """What a command of the image writes, run in a folder; raises AssertionError if it fails."""
        environment = environment or self.environment
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def running(
        self,
        command: Sequence[str] = (),
        folder: Path | None = None,
        /,
        **options: str,
    ) -> Generator[subprocess.Popen[bytes]]:
        """The CMD as the image starts it, or another command; in a `folder` of one's own, with the image's PATH only.

        `options` are further variables, as of `docker run -e`, in the Dockerfile's terms.
        The process is ended as docker stops a container.
        """
        free = free_ports(len(self._target.ports))
        self.ports = dict(zip(self._target.ports, free, strict=True))
        environment = self.environment
        if folder is not None:
            environment = self.bare_environment | {"PATH": environment["PATH"]}
        words = [self.placed(word) for word in command or (*self._target.entrypoint, *self._target.command)]
        with (self.root / "log").open("wb") as log:
            process = subprocess.Popen(
                words,
                cwd=folder or self.workdir,
                env=environment | {name: self.placed(value) for name, value in options.items()},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(PATIENCE)

    @property
    def log(self) -> str:
        """What the latest process wrote."""
        return (self.root / "log").read_text()

    def is_healthy(self) -> bool:
        """Whether the HEALTHCHECK passes."""
        command = [self.placed(word) for word in self._target.healthcheck]
        return subprocess.run(command, cwd=self.workdir, env=self.environment).returncode == 0

    def wait_until_healthy(self, process: subprocess.Popen[bytes]) -> None:
        """Asks the HEALTHCHECK again and again; raises AssertionError with the log."""
        deadline = time.monotonic() + PATIENCE
        while not self.is_healthy():
            assert process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log


def _absolute_paths(dockerfile: Dockerfile) -> Iterator[str]:
    """The folders that a Dockerfile names: working directories, volumes, and what goes from stage to stage."""
    for stage in dockerfile.stages.values():
        yield from (step.text for step in stage.steps if step.name == "WORKDIR")
        yield from stage.volumes
        for copy in stage.copies:
            paths = [*copy.sources, copy.target] if copy.stage else [copy.target]
            yield from (path for path in paths if path.startswith("/"))


def _link(source: Path, target: Path) -> None:
    """Copies a folder's content without its gigabytes: the files are linked, as nothing writes into them later."""
    shutil.copytree(source, target, symlinks=True, copy_function=os.link, dirs_exist_ok=True)
