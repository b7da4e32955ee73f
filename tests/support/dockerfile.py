"""Reads a Dockerfile and its .dockerignore, as far as this project uses them; anything else is refused by name."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from string import Template


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

    def tops(self, source: str) -> list[Path]:
        """The files and folders that a COPY source names: one, or with `*` in its last part those that match."""
        parent, _, name = source.rstrip("/").rpartition("/")
        if set(source) & set("?[") or "*" in parent:
            raise ValueError(f"COPY {source}: these wildcards are not read here")
        return sorted((self.root / parent).glob(name)) if "*" in name else [self.root / source]

    def files(self, source: str) -> list[Path]:
        """The files of a COPY source, sorted; raises FileNotFoundError if the context has none of them."""
        every = [file for top in self.tops(source) for file in ([top] if top.is_file() else top.rglob("*"))]
        seen = [
            path
            for path in every
            if path.is_file() and not self.ignored.ignores(PurePosixPath(path.relative_to(self.root)))
        ]
        if not seen:
            raise FileNotFoundError(f"COPY {source}: not in the build context (.dockerignore keeps it out?)")
        return sorted(seen)

    def copy(self, sources: Sequence[str], into: Path, *, folder: bool) -> None:
        """Does a COPY to the path `into`: a file by its name where that is a folder, a folder's content into it."""
        for source in sources:
            tops = self.tops(source)
            for path in self.files(source):
                if path not in tops:
                    (top,) = tops
                    place = into / path.relative_to(top)
                elif len(sources) > 1 or len(tops) > 1 or folder or into.is_dir():
                    place = into / path.name
                else:
                    place = into
                place.parent.mkdir(parents=True, exist_ok=True)
                # Not into the file of another stage, to which the name may be a link.
                place.unlink(missing_ok=True)
                place.write_bytes(path.read_bytes())
                place.chmod(path.stat().st_mode)


@dataclass(frozen=True)
class Copy:
    """A COPY: what, whereto, and from which stage ("": from the build context)."""

    sources: tuple[str, ...]
    target: str
    stage: str = ""


@dataclass(frozen=True)
class Step:
    """An instruction that takes part in the build: COPY, RUN, ENV, ARG or WORKDIR."""

    name: str
    text: str

    @property
    def copy(self) -> Copy:
        """Raises ValueError for a form that is not read here."""
        words = self.text.split()
        stage = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else ""
        *sources, target = words
        if not sources or any(word.startswith("-") for word in words):
            raise ValueError(f"COPY {self.text}: this form is not read here")
        return Copy(tuple(sources), target, stage)

    @property
    def pairs(self) -> dict[str, str]:
        """Of an ENV."""
        return dict(pair.split("=", 1) for pair in shlex.split(self.text))


@dataclass
class Stage:
    """A stage with what it inherits of its base: another stage, or an image by its name."""

    name: str
    base: str
    steps: list[Step] = field(default_factory=list[Step])
    """Its own, without those of the base."""
    env: dict[str, str] = field(default_factory=dict[str, str])
    """In the end; `$NAME` is left in a value if only the base image can have that variable."""
    workdir: str = "/"
    volumes: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    healthcheck: tuple[str, ...] = ()
    user: str = "root"

    @property
    def copies(self) -> list[Copy]:
        """Every COPY of its own."""
        return [step.copy for step in self.steps if step.name == "COPY"]


@dataclass(frozen=True)
class Dockerfile:
    """A parsed Dockerfile: its stages by name, in order; those without a name have their number."""

    stages: dict[str, Stage]

    def target(self, name: str = "") -> Stage:
        """The stage that `docker build --target NAME` makes, the last one without a name; raises KeyError."""
        return self.stages[name or next(reversed(self.stages))]

    def needed(self, target: str) -> list[Stage]:
        """The stages that a target is made of, in the order in which they are built; the target is the last."""
        names: set[str] = set()
        waiting = [target]
        while waiting:
            stage = self.stages[waiting.pop()]
            names.add(stage.name)
            waiting += [
                name for name in (stage.base, *(copy.stage for copy in stage.copies)) if name in self.stages
            ]
        return [stage for stage in self.stages.values() if stage.name in names]


def expanded(text: str, values: Mapping[str, str]) -> str:
    """A text with the values of `$NAME` and `${NAME}`; other names stay as they are."""
    return Template(text).safe_substitute(values)


def parse(text: str) -> Dockerfile:
    """Raises ValueError for an instruction or a form that is not read here."""
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            stage = _from(rest, stages)
            stages[stage.name] = stage
        elif stage is None:
            raise ValueError(f"Dockerfile: {name} before FROM is not read here")
        else:
            _read(name, rest, stage)
    return Dockerfile(stages)


def _from(rest: str, stages: Mapping[str, Stage]) -> Stage:
    """The start of a stage: empty, or with what its base stage says."""
    match rest.split():
        case [base]:
            name = str(len(stages))
        case [base, "AS", name]:
            pass
        case _:
            raise ValueError(f"FROM {rest}: this form is not read here")
    if parent := stages.get(base):
        return replace(parent, name=name, base=base, steps=[], env=dict(parent.env))
    return Stage(name, base)


def _read(name: str, rest: str, stage: Stage) -> None:
    match name:
        case "COPY" | "RUN" | "ARG":
            stage.steps.append(Step(name, rest))
        case "ENV":
            step = Step(name, rest)
            stage.steps.append(step)
            for variable, value in step.pairs.items():
                stage.env[variable] = expanded(value, stage.env)
        case "WORKDIR":
            stage.steps.append(Step(name, rest))
            stage.workdir = rest
        case "VOLUME":
            stage.volumes = tuple(json.loads(rest))
        case "EXPOSE":
            stage.ports = tuple(map(int, rest.split()))
        case "ENTRYPOINT":
            stage.entrypoint = tuple(json.loads(rest))
        case "CMD":
            stage.command = tuple(json.loads(rest))
        case "HEALTHCHECK":
            stage.healthcheck = tuple(json.loads(rest.partition("CMD ")[2]))
        case "USER":
            stage.user = rest
        case _:
            raise ValueError(f"Dockerfile: {name} is not read here")
