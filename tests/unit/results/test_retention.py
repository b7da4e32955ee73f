"""Which results go, and that nothing else goes with them."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mismo_grpc.errors import StoreError
from mismo_grpc.jobs.job import JobState
from mismo_grpc.jobs.store.port import EndedResult
from mismo_grpc.results.retention import (
    empty_trash,
    expired_jobs,
    jobs_over_budget,
    move_to_trash,
    remove_tree,
    trash_of,
)


def job(job_id: str, ended_at: float, size: int = 10, expires_at: float | None = 1000.0) -> EndedResult:
    return EndedResult(job_id, f"run of {job_id}", JobState.SUCCEEDED, ended_at, expires_at, size)


def jobs_to_remove(
    ended: Sequence[EndedResult], now: float, budget: int, in_use: Collection[str] = ()
) -> list[str]:
    return [*expired_jobs(ended, now, in_use), *jobs_over_budget(ended, now, budget, in_use)]


def test_expired_results_go_longest_expired_first() -> None:
    ended = [job("a", 1, expires_at=20), job("b", 2, expires_at=10), job("c", 3, expires_at=21), job("d", 4)]
    assert jobs_to_remove(ended, 20.0, 0) == ["b", "a"]


def test_a_result_without_expiry_stays() -> None:
    assert jobs_to_remove([job("a", 1, expires_at=None)], 1e12, 0) == []


def test_the_budget_takes_the_oldest_ended_first_and_no_more_than_needed() -> None:
    ended = [job("new", 4), job("old", 1), job("middle", 3), job("older", 2)]
    assert jobs_to_remove(ended, 0.0, 25) == ["old", "older"]
    assert jobs_to_remove(ended, 0.0, 39) == ["old"]
    assert jobs_to_remove(ended, 0.0, 40) == []


def test_expired_results_make_room_before_the_budget_takes_any() -> None:
    ended = [job("old", 1), job("gone", 2, expires_at=5), job("new", 3)]
    assert jobs_to_remove(ended, 5.0, 20) == ["gone"]


def test_a_result_in_use_stays_and_counts() -> None:
    ended = [job("read", 1, expires_at=5), job("b", 2), job("c", 3)]
    assert jobs_to_remove(ended, 5.0, 20, in_use={"read"}) == ["b"]


def test_the_newest_result_stays_however_small_the_budget() -> None:
    assert jobs_to_remove([job("a", 1), job("b", 2, size=10**9)], 0.0, 1) == ["a"]


def test_the_budget_takes_no_job_without_files() -> None:
    """Its results are in its record, and to remove it would free nothing."""
    ended = [job("analysed", 1, size=0), job("old", 2), job("new", 3), job("analysed later", 4, size=0)]
    assert jobs_to_remove(ended, 0.0, 1) == ["old"]


def size_of(result: EndedResult) -> int:
    return result.result_bytes


@given(
    st.lists(
        st.builds(
            job,
            st.uuids().map(str),
            st.floats(0, 100),
            st.integers(0, 50),
            st.none() | st.floats(0, 100),
        ),
        max_size=12,
        unique_by=lambda each: each.job_id,
    ),
    st.floats(0, 100),
    st.integers(0, 200),
    st.randoms(use_true_random=False),
)
def test_what_stays_fits_the_budget_unless_it_must_stay(ended, now, budget, random) -> None:
    in_use = {each.job_id for each in ended if random.random() < 0.3}
    removed = jobs_to_remove(ended, now, budget, in_use)
    assert len(set(removed)) == len(removed)
    assert not in_use & set(removed)
    stays = [each for each in ended if each.job_id not in removed]
    free_to_go = [each for each in stays if each.job_id not in in_use]
    assert all(each.expires_at is None or each.expires_at > now for each in free_to_go)
    if budget and sum(each.result_bytes for each in stays) > budget:
        newest = max(filter(size_of, stays), key=lambda each: (each.ended_at, each.job_id))
        assert list(filter(size_of, free_to_go)) in ([], [newest])


# Files


def a_folder(parent: Path, name: str) -> Path:
    folder = parent / name
    (folder / "stems").mkdir(parents=True)
    (folder / "stems" / "drums.wav").write_bytes(bytes(100))
    (folder / "stems.json").write_text("{}")
    return folder


def test_a_folder_goes_in_one_step_and_no_other(tmp_path: Path) -> None:
    folder, other = a_folder(tmp_path, "a"), a_folder(tmp_path, "b")
    grave = move_to_trash(tmp_path, folder)
    assert grave is not None
    assert not folder.exists()
    assert (grave / "stems.json").exists()
    remove_tree(grave)
    assert (other / "stems" / "drums.wav").exists()
    assert list(trash_of(tmp_path).iterdir()) == []
    assert move_to_trash(tmp_path, folder) is None


def test_nothing_outside_is_reached_through_links(tmp_path: Path) -> None:
    jobs_dir, outside = tmp_path / "jobs", tmp_path / "outside"
    jobs_dir.mkdir()
    outside.mkdir()
    (outside / "music.wav").write_bytes(b"x")
    folder = a_folder(jobs_dir, "a")
    (folder / "away").symlink_to(outside)
    (folder / "stems" / "file.wav").symlink_to(outside / "music.wav")
    (jobs_dir / "b").symlink_to(outside)
    (jobs_dir / "c").write_bytes(b"a file in a folder's place")
    for name in ("a", "b", "c"):
        assert move_to_trash(jobs_dir, jobs_dir / name) is not None
        assert not os.path.lexists(jobs_dir / name)
    assert empty_trash(jobs_dir) == 3
    assert (outside / "music.wav").read_bytes() == b"x"


def test_what_a_crash_left_in_the_trash_goes_at_start(tmp_path: Path) -> None:
    a_folder(trash_of(tmp_path), "0123456789abcdef")
    (trash_of(tmp_path) / "file").write_bytes(b"x")
    (trash_of(tmp_path) / "link").symlink_to(tmp_path)
    assert empty_trash(tmp_path) == 3
    assert list(trash_of(tmp_path).iterdir()) == []
    assert empty_trash(tmp_path) == 0


@pytest.mark.parametrize("linked", [".mismo", ".mismo/trash"])
def test_a_trash_that_leads_elsewhere_is_refused(tmp_path: Path, linked: str) -> None:
    jobs_dir, outside = tmp_path / "jobs", tmp_path / "outside"
    (outside / "trash").mkdir(parents=True)
    (outside / "trash" / "precious").write_bytes(b"x")
    link = jobs_dir / linked
    link.parent.mkdir(parents=True)
    link.symlink_to(outside if linked == ".mismo" else outside / "trash")
    folder = a_folder(jobs_dir, "a")
    with pytest.raises(StoreError, match="must not be a link"):
        empty_trash(jobs_dir)
    with pytest.raises(StoreError, match="must not be a link"):
        move_to_trash(jobs_dir, folder)
    assert (outside / "trash" / "precious").exists()
    assert folder.exists()
