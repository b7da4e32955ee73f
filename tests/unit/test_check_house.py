"""The limits of folders and modules, and circles among TypeScript modules."""

from __future__ import annotations

from pathlib import Path

from scripts.check_house import MAX_LINES, MAX_MODULES, cycle_of, imports_of, modules_of, too_large


def test_a_folder_and_a_module_within_the_limits_pass(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text("")
    for number in range(MAX_MODULES):
        (tmp_path / f"m{number}.py").write_text("x = 1\n" * MAX_LINES)
    assert too_large(tmp_path, modules_of(tmp_path, "*.py")) == []


def test_a_folder_and_a_module_past_the_limits_are_named(tmp_path: Path) -> None:
    room = tmp_path / "room"
    room.mkdir()
    for number in range(MAX_MODULES + 1):
        (room / f"m{number}.py").write_text("")
    (room / "m0.py").write_text("x = 1\n" * (MAX_LINES + 1))
    assert too_large(tmp_path, modules_of(tmp_path, "*.py")) == [
        "room/m0.py: 401 lines, at most 400",
        "room: 21 modules, at most 20",
    ]


def test_generated_modules_are_not_counted(tmp_path: Path) -> None:
    (tmp_path / "generated").mkdir()
    (tmp_path / "generated" / "a.ts").write_text("")
    assert modules_of(tmp_path, "*.ts") == []


def test_modules_that_import_each_other_are_found(tmp_path: Path) -> None:
    sources = {
        "a.ts": 'import type { B } from "./b.js";\n',
        "b.ts": 'export { c } from "./inner/c.js";\n',
        "inner/c.ts": 'import { a } from "../a.js";\nconst later = await import("./d.js");\n',
        "inner/d.ts": 'import { z } from "zlib";\n',
    }
    (tmp_path / "inner").mkdir()
    for name, text in sources.items():
        (tmp_path / name).write_text(text)
    graph = {module: imports_of(module) for module in modules_of(tmp_path, "*.ts")}
    assert imports_of(tmp_path / "inner/c.ts") == {tmp_path / "a.ts", tmp_path / "inner/d.ts"}
    assert {path.name for path in cycle_of(graph)} == {"a.ts", "b.ts", "c.ts"}
    (tmp_path / "inner/c.ts").write_text("")
    graph = {module: imports_of(module) for module in modules_of(tmp_path, "*.ts")}
    assert cycle_of(graph) == []
