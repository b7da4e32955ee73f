from __future__ import annotations

import json
from pathlib import Path

import pytest

from mismo_grpc.errors import ModelUnavailableError
from mismo_grpc.generation.musicgen.prompts import STEM_WORDS, prompt_of
from mismo_grpc.generation.musicgen.weights import MusicgenWeights, is_complete
from mismo_grpc.generation.options import TARGET_STEMS, GenerationOptions

MODEL = "mismo-tests/tiny"


def installed(folder: Path, *files: str) -> Path:
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_text("{}")
    return folder


WHOLE = ("config.json", "tokenizer.json", "model.safetensors")


@pytest.mark.parametrize("name", ["tiny", "mismo-tests--tiny"])
def test_a_local_copy_is_found_by_either_name(tmp_path: Path, name: str) -> None:
    folder = installed(tmp_path / "second" / name, *WHOLE)
    weights = MusicgenWeights(MODEL, (tmp_path / "first", tmp_path / "second"))
    assert weights.find() == folder == weights.fetch()
    assert weights.unavailable_reason() == ""
    assert weights.fingerprint() != "missing"


@pytest.mark.parametrize("missing", WHOLE)
def test_a_copy_that_lacks_a_file_is_none(tmp_path: Path, missing: str) -> None:
    installed(tmp_path / "tiny", *(name for name in WHOLE if name != missing))
    assert MusicgenWeights(MODEL, (tmp_path,)).find() is None


def test_weights_in_shards_are_complete_with_all_of_them(tmp_path: Path) -> None:
    folder = installed(tmp_path / "tiny", "config.json", "spiece.model", "a.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}))
    assert not is_complete(folder)
    (folder / "b.safetensors").write_bytes(b"")
    assert is_complete(folder)
    index.write_text("no json")
    assert not is_complete(folder)


def test_the_hub_s_cache_is_searched_without_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--mismo-tests--tiny"
    folder = installed(repository / "snapshots" / ("0" * 40), *WHOLE)
    installed(repository / "refs")
    (repository / "refs" / "main").write_text("0" * 40)
    assert MusicgenWeights(MODEL).find() == folder


def test_no_name_of_a_model_reaches_beyond_the_folders(tmp_path: Path) -> None:
    installed(tmp_path / "outside", *WHOLE)
    inside = tmp_path / "inside"
    inside.mkdir()
    for name in ("../outside", "a/../../outside", "..", ""):
        assert MusicgenWeights(name, (inside,)).find() is None


def test_a_hub_that_does_not_answer_is_an_error_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    # Nothing listens on this port.
    weights = MusicgenWeights(MODEL, (tmp_path,), hub=True, endpoint="http://127.0.0.1:9")
    assert weights.unavailable_reason() == ""
    with pytest.raises(
        ModelUnavailableError, match=r"hf download mismo-tests/tiny.*the hub does not give them"
    ):
        weights.fetch()


def test_a_prompt_says_all_that_was_asked() -> None:
    options = GenerationOptions(
        ("drums",),
        target_bpm=92.5,
        style="jazz",
        chord_progression=("Am7", "D7"),
        key="D dorian",
        prompt="  late at night ",
    )
    assert prompt_of(options, "drums") == (
        "late at night, jazz, drums only, drum loop, 92.5 bpm, in D minor, chords Am7 D7"
    )
    assert prompt_of(GenerationOptions(("bass",)), "bass") == "solo bass line, 120 bpm"
    assert set(STEM_WORDS) == set(TARGET_STEMS)
