"""What ships: the Dockerfile's image and the wheel in it, each started the documented way."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from tests.service.dockerfile import Context, Dockerfile, IgnoreRules, parse
from tests.service.process import ROOT


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
    for text in ('ENTRYPOINT ["sh"]', "COPY a b\nWORKDIR /x"):
        with pytest.raises(ValueError, match="not read here"):
            parse(text)
    with pytest.raises(ValueError, match="not read here"):
        _ = parse("COPY --chown=1 a b").copies
    with pytest.raises(ValueError, match="not read here"):
        IgnoreRules("[ab]")
    with pytest.raises(ValueError, match="wildcards"):
        Context(tmp_path, IgnoreRules("")).files("*.py")


def test_the_dockerignore_lets_in_all_that_the_dockerfile_copies(
    dockerfile: Dockerfile, context: Context
) -> None:
    everything = Context(ROOT, IgnoreRules("**/__pycache__"))
    sources = [source for sources, _ in dockerfile.copies for source in sources]
    assert sources
    for source in sources:
        assert context.files(source) == everything.files(source), source
