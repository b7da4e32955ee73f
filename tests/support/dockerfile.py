"""Reads a Dockerfile and its .dockerignore, as far as this project uses them; anything else is refused by name."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath


class IgnoreRules:
    """The rules of a .dockerignore: the last pattern that matches a path, or a folder above it, decides."""

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.splitlines() if not line.startswith("#")]
        self._rules = [(_pattern(line.removeprefix("!")), not line.startswith("!")) for line in lines if line]

    def ignores(self, path: PurePosixPath) -> bool:
        """Whether a path, relative to the folder of the file, is kept out of the build context."""
        names = ["/".join(path.parts[:depth]) for depth in range(1, len(path.parts) + 1)]
        verdict = False
        for pattern, ignored in self._rules:
            if any(pattern.fullmatch(name) for name in names):
                verdict = ignored
        return verdict


def _pattern(text: str) -> re.Pattern[str]:
    """A pattern of path names: `**/` stands for any folders, `*` and `?` for what is no slash."""
    if set(text) & set("[]\\"):
        raise ValueError(f".dockerignore: {text!r}: character classes and escapes are not read here")
    meanings = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", text.strip("/"))
    return re.compile("".join(meanings.get(part) or re.escape(part) for part in parts))


@dataclass(frozen=True)
class Context:
    """What a build sees of a folder."""

    root: Path
    ignored: IgnoreRules

    def files(self, source: str) -> list[Path]:
        """The files of a COPY source, sorted; raises FileNotFoundError if the context has none of them."""
        if set(source) & set("*?["):
            raise ValueError(f"COPY {source}: wildcards are not read here")
        top = self.root / source
        every = [top] if top.is_file() else [path for path in top.rglob("*") if path.is_file()]
        seen = [
            path for path in every if not self.ignored.ignores(PurePosixPath(path.relative_to(self.root)))
        ]
        if not seen:
            raise FileNotFoundError(f"COPY {source}: not in the build context (.dockerignore keeps it out?)")
        return sorted(seen)

    def copy(self, sources: Sequence[str], target: str, folder: Path) -> None:
        """Does a COPY into `folder`, the working directory: a file by its name, a folder's content into the target."""
        into = folder / target
        for source in sources:
            top = self.root / source
            for path in self.files(source):
                if path != top:
                    place = into / path.relative_to(top)
                elif len(sources) > 1 or target.endswith("/") or into.is_dir():
                    place = into / path.name
                else:
                    place = into
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(path.read_bytes())
                place.chmod(path.stat().st_mode)


@dataclass
class Dockerfile:
    """A parsed Dockerfile of one stage. `steps` are its COPY and RUN instructions, in order."""

    steps: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    env: dict[str, str] = field(default_factory=dict[str, str])
    workdir: str = "/"
    volumes: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    command: tuple[str, ...] = ()
    healthcheck: tuple[str, ...] = ()

    @property
    def copies(self) -> list[tuple[list[str], str]]:
        """Sources and target of every COPY."""
        return [copy_form(rest) for name, rest in self.steps if name == "COPY"]


def parse(text: str) -> Dockerfile:
    """Raises ValueError for an instruction or a form that is not read here."""
    made = Dockerfile()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        name, _, rest = line.strip().partition(" ")
        match name:
            case "COPY" | "RUN":
                made.steps.append((name, rest))
            case "ENV":
                made.env |= dict(pair.split("=", 1) for pair in shlex.split(rest))
            case "WORKDIR":
                if made.steps:
                    raise ValueError("WORKDIR after a step is not read here")
                made.workdir = rest
            case "VOLUME":
                made.volumes = tuple(json.loads(rest))
            case "EXPOSE":
                made.ports = tuple(map(int, rest.split()))
            case "CMD":
                made.command = tuple(json.loads(rest))
            case "HEALTHCHECK":
                made.healthcheck = tuple(json.loads(rest.partition("CMD ")[2]))
            case "FROM" | "ARG" | "USER":
                pass
            case _:
                raise ValueError(f"Dockerfile: {name} is not read here")
    return made


def copy_form(rest: str) -> tuple[list[str], str]:
    """Sources and target of a COPY; raises ValueError for a form that is not read here."""
    *sources, target = rest.split()
    if not sources or sources[0].startswith("-"):
        raise ValueError(f"COPY {rest}: this form is not read here")
    return sources, target
