"""The examples of the client's README are of this client."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import mismo_client
from mismo_client import AsyncClient, StemPlayer

README = Path(__file__).resolve().parents[3] / "clients" / "python" / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
# What the examples call their objects.
OBJECTS = {"client": AsyncClient, "player": StemPlayer}


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_names_nothing_that_is_not_there(example: str) -> None:
    compile(example, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(ast.parse(example)):
        if isinstance(node, ast.ImportFrom) and node.module == "mismo_client":
            assert {name.name for name in node.names} <= set(mismo_client.__all__)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in OBJECTS:
            assert hasattr(OBJECTS[node.value.id], node.attr), node.attr


def test_the_table_names_every_method() -> None:
    table = [line.split("|")[1] for line in README.read_text().splitlines() if line.startswith("| `")]
    named = {name for cell in table for name in re.findall(r"`(\w+)`", cell)}
    assert named == {name for name in dir(AsyncClient) if not name.startswith("_")} - {"aclose"}
