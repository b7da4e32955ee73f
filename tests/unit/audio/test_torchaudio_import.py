from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

# A package of the name torchaudio whose native extension fails as that of another build does.
BROKEN = {
    "__init__.py": "from . import _extension\nloaded = _extension._IS_TORCHAUDIO_EXT_AVAILABLE\n",
    "_extension.py": "raise OSError('Could not load this library')\n",
}


def imported(folder: Path, program: str) -> str:
    path = os.pathsep.join([str(folder), str(ROOT)])
    command = [sys.executable, "-c", f"from mismo_grpc.audio.torchaudio_import import *\n{program}"]
    run = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": path},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return run.stdout.strip()


def test_a_torchaudio_whose_extension_cannot_be_loaded_is_imported_without_it(tmp_path: Path) -> None:
    (tmp_path / "torchaudio").mkdir()
    for name, text in BROKEN.items():
        (tmp_path / "torchaudio" / name).write_text(text)
    assert imported(tmp_path, "import_torchaudio()\nimport torchaudio\nprint(torchaudio.loaded)") == "False"


@pytest.mark.parametrize("text", ["raise OSError('no extension either')\n", "raise ValueError('broken')\n"])
def test_a_torchaudio_that_is_broken_otherwise_stays_so_and_leaves_no_stand_in(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio" / "__init__.py").write_text(text)
    program = """
import sys
try:
    import_torchaudio()
except Exception as error:
    print(type(error).__name__, "torchaudio._extension" in sys.modules)
"""
    name = text.partition("(")[0].split()[-1]
    assert imported(tmp_path, program) == f"{name} False"


def test_a_missing_torchaudio_is_an_import_error(tmp_path: Path) -> None:
    program = """
import sys
sys.modules["torchaudio"] = None
try:
    import_torchaudio()
except ImportError:
    print("missing")
"""
    assert imported(tmp_path, program) == "missing"
