"""Does a Dockerfile's steps in a folder, without a container engine, and runs what comes of them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.service.gateway.test_app_server_start import free_ports
from tests.support.calls import PATIENCE
from tests.support.dockerfile import Context, Dockerfile, copy_form

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
    """The image in the folder `root`: its working directory, its volumes, and a Python of its own.

    Absolute paths of the Dockerfile lie below `root`, its ports are free ones of this machine, its USER is who runs
    the tests, and its base image is an empty environment of their Python.
    """

    def __init__(self, root: Path, dockerfile: Dockerfile, context: Context) -> None:
        self.root = root
        self._dockerfile = dockerfile
        self._context = context
        self._python = root / "python"
        self.ports: dict[int, int] = {}
        """By the Dockerfile's number; other ones at each start."""

    @property
    def workdir(self) -> Path:
        """The folder of the image's WORKDIR."""
        return Path(self.placed(self._dockerfile.workdir))

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
        env = {name: self.placed(value) for name, value in self._dockerfile.env.items()}
        return self.bare_environment | {name: env[name] for name in env.keys() - LEFT_OUT}

    def placed(self, text: str) -> str:
        """A part of the Dockerfile, with its paths and ports as they are here."""
        tops = "|".join(map(re.escape, (self._dockerfile.workdir, *self._dockerfile.volumes)))
        text = re.sub(rf"(?<![\w.~/-])({tops})(?![\w.-])", rf"{self.root}\1", text)
        for port, free in self.ports.items():
            text = re.sub(rf"\b{port}\b", str(free), text)
        return text

    def build(self) -> None:
        """FROM, COPY and RUN; raises AssertionError with the output of a step that fails."""
        self.run([sys.executable, "-m", "venv", str(self._python)], self.root)
        for name, script in STAND_INS.items():
            place = self.root / "stand-ins" / name
            place.parent.mkdir(exist_ok=True)
            place.write_text(script)
            place.chmod(0o755)
        self.workdir.mkdir()
        for name, rest in self._dockerfile.steps:
            if name == "COPY":
                self._context.copy(*copy_form(rest), self.workdir)
            else:
                self.run(["/bin/sh", "-c", self.placed(rest)], self.workdir)

    def run(self, command: Sequence[str], folder: Path) -> str:
        """What a command of the image writes, run in a folder; raises AssertionError if it fails."""
        done = subprocess.run(command, cwd=folder, env=self.environment, capture_output=True, text=True)
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
        """The CMD as the image starts it, or another command; in a `folder` of one's own, without the image's ENV.

        `options` are further variables, as of `docker run -e`, in the Dockerfile's terms.
        The process is ended as docker stops a container.
        """
        free = free_ports(len(self._dockerfile.ports))
        self.ports = dict(zip(self._dockerfile.ports, free, strict=True))
        environment = self.environment if folder is None else self.bare_environment
        words = [self.placed(word) for word in command or self._dockerfile.command]
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
        command = [self.placed(word) for word in self._dockerfile.healthcheck]
        return subprocess.run(command, cwd=self.workdir, env=self.environment).returncode == 0

    def wait_until_healthy(self, process: subprocess.Popen[bytes]) -> None:
        """Asks the HEALTHCHECK again and again; raises AssertionError with the log."""
        deadline = time.monotonic() + PATIENCE
        while not self.is_healthy():
            assert process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
