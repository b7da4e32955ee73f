"""Models that cannot be loaded: what passes is told from what does not, and the last word is kept."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mismo_grpc.errors import ModelLoadError, OutOfMemoryError
from mismo_grpc.separation.catalog import ModelCatalog
from mismo_grpc.separation.models import ModelPool
from mismo_grpc.wire_forms import wire
from tests.unit.separation.bags import tiny_htdemucs, write_safetensors_bag, write_th_bag
from tests.unit.separation.moody import TROUBLES, moody


def of_the_machine() -> RuntimeError:
    """What torch raises where the machine has no memory left."""
    try:
        torch.empty(1 << 50)
    except RuntimeError as error:
        return error
    raise AssertionError("this machine has a petabyte")


SHORTAGES = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    of_the_machine(),
]
DEFECTS = [
    RuntimeError("CUDA error: no kernel image is available"),
    OSError(errno.EIO, "Input/output error"),
    KeyError("state"),
    SystemExit(1),
]


@pytest.fixture(autouse=True)
def good_mood() -> Iterator[None]:
    yield
    TROUBLES.clear()


@pytest.fixture
def pool(tmp_path: Path) -> ModelPool:
    """Over the models moody, idle and busy."""
    write_th_bag(tmp_path, "moody", [moody(1)])
    for name in ("idle", "busy"):
        write_safetensors_bag(tmp_path, name, [tiny_htdemucs(1)])
    return ModelPool(ModelCatalog([tmp_path]), torch.device("cpu"), 1 << 30)


@pytest.mark.parametrize("shortage", SHORTAGES, ids=lambda error: type(error).__name__)
def test_where_memory_is_short_the_idle_models_go_and_the_load_is_tried_again(
    pool: ModelPool, shortage: BaseException
) -> None:
    busy = pool.get("busy")
    pool.get("idle")
    TROUBLES.append(shortage)
    assert pool.get("moody").name == "moody"
    assert pool.warm() == ["busy", "moody"]
    assert pool.get("busy") is busy
    assert pool.failures() == {}


@pytest.mark.parametrize("shortage", SHORTAGES, ids=lambda error: type(error).__name__)
def test_memory_that_stays_short_is_no_defect_of_the_model(pool: ModelPool, shortage: BaseException) -> None:
    TROUBLES.extend([shortage, shortage])
    with pytest.raises(OutOfMemoryError, match="not enough memory to load model moody") as caught:
        pool.get("moody")
    assert wire(caught.value).retryable
    assert list(pool.failures()) == ["moody"]
    assert pool.get("moody").name == "moody"
    assert pool.failures() == {}


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda error: type(error).__name__)
def test_whatever_else_a_load_ends_with_is_a_model_that_cannot_be_loaded(
    pool: ModelPool, defect: BaseException
) -> None:
    TROUBLES.append(defect)
    with pytest.raises(ModelLoadError, match="moody") as caught:
        pool.get("moody")
    assert not wire(caught.value).retryable
    assert pool.failures() == {"moody": caught.value.message}
    assert not TROUBLES, "it was tried once"
    pool.get("moody")
    assert pool.failures() == {}


def test_a_loader_that_fails_outside_the_files_is_named_as_well(
    pool: ModelPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card that does not answer when the network is moved to it, a folder that cannot be listed."""

    def broken(*_: object) -> None:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr("mismo_grpc.separation.catalog._bag_in", broken)
    with pytest.raises(ModelLoadError, match="model idle cannot be loaded: PermissionError"):
        pool.get("idle")


def test_a_model_that_the_pool_forgot_is_not_loaded_twice_while_a_job_uses_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_safetensors_bag(tmp_path, name, [tiny_htdemucs(1)])
    pool = ModelPool(ModelCatalog([tmp_path]), torch.device("cpu"), 1)
    first = pool.get("a")
    pool.get("b")
    assert pool.warm() == ["b"]
    assert pool.get("a") is first
