"""Fails when a folder has too many modules, a module too many lines, or modules in TypeScript or JavaScript import
each other.

What Python modules may import is in .importlinter.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (
    ("mismo_grpc", "*.py"),
    ("clients/python", "*.py"),
    ("clients/node/src", "*.ts"),
    ("clients/web/src", "*.ts"),
    ("mismo_grpc/gateway/static/js", "*.js"),
    ("examples/app-server/src", "*.js"),
    ("examples/workers/src", "*.js"),
    ("benchmarks", "*.py"),
    ("scripts", "*.py"),
    ("training", "*.py"),
)
TYPED_MODULES = (
    ("clients/node/src", "*.ts"),
    ("clients/web/src", "*.ts"),
    ("mismo_grpc/gateway/static/js", "*.js"),
)
GENERATED = "generated"
MAX_MODULES = 20
MAX_LINES = 400
_IMPORT = re.compile(r"""\b(?:from|import)\s*\(?\s*["'](\.{1,2}/[^"']+)["']""")


def modules_of(root: Path, pattern: str) -> list[Path]:
    """All modules under a folder, without generated ones and installed packages."""
    return sorted(
        path
        for path in root.rglob(pattern)
        if not {GENERATED, "node_modules"} & set(path.relative_to(root).parts)
    )


def too_large(root: Path, modules: Iterable[Path]) -> list[str]:
    """What breaks the limits, one line each; `__init__.py` is no module of its folder."""
    found: list[str] = []
    folders: dict[Path, int] = {}
    for module in modules:
        lines = module.read_text(encoding="utf-8").count("\n")
        if lines > MAX_LINES:
            found.append(f"{module.relative_to(root)}: {lines} lines, at most {MAX_LINES}")
        if module.name != "__init__.py":
            folders[module.parent] = folders.get(module.parent, 0) + 1
    found += [
        f"{folder.relative_to(root)}: {count} modules, at most {MAX_MODULES}"
        for folder, count in folders.items()
        if count > MAX_MODULES
    ]
    return found


def imports_of(module: Path) -> set[Path]:
    """The modules in TypeScript or JavaScript that one imports by a relative path, types included."""
    return {
        (module.parent / path).resolve().with_suffix(module.suffix)
        for path in _IMPORT.findall(module.read_text(encoding="utf-8"))
    }


def cycle_of(graph: Mapping[Path, set[Path]]) -> list[Path]:
    """Modules that import each other in a circle, the first one again at the end; empty if there are none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def main() -> None:
    """Checks the whole checkout."""
    found: list[str] = []
    for folder, pattern in SOURCES:
        found += too_large(ROOT, modules_of(ROOT / folder, pattern))
    for folder, pattern in TYPED_MODULES:
        graph = {module: imports_of(module) for module in modules_of(ROOT / folder, pattern)}
        if cycle := cycle_of(graph):
            found.append("imports in a circle: " + " -> ".join(path.name for path in reversed(cycle)))
    if found:
        sys.exit("\n".join(found))
    print("every folder and every module keeps its limits")


if __name__ == "__main__":
    main()
