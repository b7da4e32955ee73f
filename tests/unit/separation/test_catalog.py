"""Where models are found, and what is known of them before they are loaded."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch

from mismo_grpc.errors import ModelUnavailableError
from mismo_grpc.separation.catalog import (
    EMBEDDED_MODEL,
    OFFICIAL,
    ModelCatalog,
    ModelState,
    hub_repository,
    is_model_name,
)
from mismo_grpc.separation.models import ModelPool
from tests.unit.separation.bags import SOURCES, tiny_htdemucs, write_safetensors_bag, write_th_bag


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights of the person who runs the tests."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_the_embedded_model_is_always_there() -> None:
    known = ModelCatalog([]).describe(EMBEDDED_MODEL)
    assert known.state is ModelState.AVAILABLE
    assert set(known.sources) == set(SOURCES)
    assert known.sample_rate == 44100
    assert known.segment_frames > 0


def test_every_official_bag_is_listed_and_says_how_to_get_it() -> None:
    catalog = ModelCatalog([])
    assert set(OFFICIAL) <= set(catalog.names())
    known = catalog.describe("htdemucs")
    assert known.state is ModelState.UNAVAILABLE
    assert known.segment_frames == 343_980
    assert "MISMO_MODEL_DIRS" in known.reason


@pytest.mark.parametrize(
    "name", ["", "no_such_model", "../../etc/passwd", "a/b", ".hidden", "x" * 65, "a\0b"]
)
def test_a_name_nobody_knows_is_refused_and_never_becomes_a_path(name: str) -> None:
    with pytest.raises(ModelUnavailableError) as caught:
        ModelCatalog([]).describe(name)
    assert caught.value.field == "options.stems.model"


def test_model_names_are_plain() -> None:
    assert is_model_name("htdemucs_6s")
    assert not is_model_name("../x")


def test_a_safetensors_bag_is_described_without_loading_it(tmp_path: Path) -> None:
    write_safetensors_bag(
        tmp_path / "mine", "tiny", [tiny_htdemucs(1, Fraction(1, 2)), tiny_htdemucs(2, Fraction(1))]
    )
    known = ModelCatalog([tmp_path / "mine"]).describe("tiny")
    assert (known.sources, known.segment_frames) == (tuple(SOURCES), 44_100)


def test_folders_of_a_model_folder_are_looked_into(tmp_path: Path) -> None:
    write_th_bag(tmp_path / "models" / "tiny", "tiny", [tiny_htdemucs(1)])
    assert ModelCatalog([tmp_path / "models"]).find("tiny") is not None


def test_a_bag_with_a_missing_member_is_not_there(tmp_path: Path) -> None:
    write_th_bag(tmp_path, "htdemucs", [tiny_htdemucs(1), tiny_htdemucs(2)])
    (tmp_path / "htdemucs1.th").unlink()
    assert ModelCatalog([tmp_path]).describe("htdemucs").state is ModelState.UNAVAILABLE


def test_weights_in_torchs_cache_are_found_by_signature_and_checksum(tmp_path: Path) -> None:
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    write_th_bag(folder, "x", [tiny_htdemucs(1)])
    (folder / "x0.th").rename(folder / "955717e8-8726e21a.th")
    files = ModelCatalog([]).find("htdemucs")
    assert files is not None
    assert files.members == (folder / "955717e8-8726e21a.th",)


def test_weights_in_the_hubs_cache_are_found(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / f"models--{hub_repository('htdemucs').replace('/', '--')}"
    snapshot = repository / "snapshots" / "abc"
    write_safetensors_bag(snapshot, "htdemucs", [tiny_htdemucs(1)])
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    assert ModelCatalog([]).describe("htdemucs").state is ModelState.AVAILABLE


def test_other_weights_under_the_same_name_have_another_fingerprint(tmp_path: Path) -> None:
    catalog = ModelCatalog([tmp_path])
    write_th_bag(tmp_path, "tiny", [tiny_htdemucs(1)])
    before = catalog.describe("tiny").fingerprint
    assert catalog.describe("tiny").fingerprint == before
    write_th_bag(tmp_path, "tiny", [tiny_htdemucs(1)], [[1.0, 1.0, 1.0, 0.5]])
    assert catalog.describe("tiny").fingerprint != before


def test_the_least_recently_used_model_leaves_when_the_budget_is_passed(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_safetensors_bag(tmp_path, name, [tiny_htdemucs(1)])
    size = sum(p.numel() * 4 for p in tiny_htdemucs(1).parameters())
    pool = ModelPool(ModelCatalog([tmp_path]), torch.device("cpu"), 2 * size)
    first = pool.get("a")
    pool.get("b")
    assert pool.get("a") is first
    pool.get("c")
    assert pool.warm() == ["a", "c"]


def test_a_pool_that_keeps_nothing_warm_holds_one_model(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_safetensors_bag(tmp_path, name, [tiny_htdemucs(1)])
    pool = ModelPool(ModelCatalog([tmp_path]), torch.device("cpu"), 1 << 40, keep_warm=False)
    pool.get("a")
    pool.get("b")
    assert pool.warm() == ["b"]


def test_an_absent_model_says_what_to_do() -> None:
    pool = ModelPool(ModelCatalog([]), torch.device("cpu"), 1 << 40)
    with pytest.raises(ModelUnavailableError, match="MISMO_MODEL_DIRS"):
        pool.get("htdemucs")
