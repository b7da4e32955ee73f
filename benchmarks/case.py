"""A case of the benchmark, and the tools that it measures with."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from benchmarks.commands import plain_environment
from benchmarks.models import demucs_repository, server_model_dirs
from benchmarks.music.songs import MusicOptions
from benchmarks.network import Link
from benchmarks.server import Server, ServerPlan, running_server
from benchmarks.table import Row
from benchmarks.tracks import Tracks

ROOT = Path(__file__).resolve().parent.parent
EMBEDDED_MODEL = "mismo_lite"


@dataclass(frozen=True)
class Bench:
    """One run of the benchmark: `folder` is removed at its end, `cache` stays; `quick`: fewer and shorter trials."""

    folder: Path
    cache: Path
    tracks: Tracks
    model: str
    device: str
    quick: bool
    say: Callable[[str], None]
    music: MusicOptions = field(default_factory=MusicOptions)

    def few(self, usual: int, quick: int) -> int:
        """Returns the number of trials, or of seconds of a track: `quick` in a quick run, else `usual`."""
        return quick if self.quick else usual

    @property
    def demucs_repository(self) -> Path:
        """The folder with the model in the form that the `demucs` command reads."""
        return demucs_repository(self.model, self.cache)

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of child processes, without the caller's settings, thread counts and hub."""
        return plain_environment(os.environ)

    def command(self, name: str) -> str:
        """Returns the path of a command that is installed beside this Python."""
        return str(Path(sys.executable).with_name(name))

    def server(
        self,
        jobs: str,
        *,
        model: str | None = None,
        precision: str = "auto",
        warm: bool = True,
        link: Link | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> AbstractAsyncContextManager[Server]:
        """Starts a server with the jobs folder named `jobs`; with `warm` it waits until the model is loaded.

        With a `link` the server runs on the host at the link's other end; `settings` are in its environment.
        """
        chosen = model or self.model
        return running_server(
            ServerPlan(
                folder=self.folder,
                jobs=jobs,
                model=chosen,
                model_dirs=server_model_dirs(chosen, self.cache),
                device=self.device,
                precision=precision,
                environment={**self.environment, **settings},
                link=link,
            ),
            warm=warm,
        )


@dataclass(frozen=True)
class Case:
    """A part of the table; `optional` ones run only when they are named."""

    name: str
    summary: str
    run: Callable[[Bench], Awaitable[list[Row]]]
    limit_seconds: float = 600.0
    optional: bool = False
