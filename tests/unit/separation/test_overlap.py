from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from mismo_grpc.separation.grid import Plan, plan_track
from mismo_grpc.separation.overlap import OverlapAdd, PieceStore, Samples
from mismo_grpc.separation.ranges import RangeSet

STEMS, CHANNELS = 2, 2


def outputs_of(plan: Plan) -> list[Samples]:
    noise = np.random.default_rng(5)
    return [noise.standard_normal((STEMS, t.length, CHANNELS)).astype(np.float32) for t in plan.segments]


def add_up(
    plan: Plan, outputs: list[Samples], order: list[int], folder: Path, restart_every: int = 0
) -> Samples:
    track = np.full((STEMS, plan.total_frames, CHANNELS), np.nan, dtype=np.float32)
    overlap = OverlapAdd(plan, PieceStore(folder, STEMS, CHANNELS))
    done, ready = RangeSet(), RangeSet()
    for count, index in enumerate(order):
        segment = plan.segments[index]
        added = overlap.add(segment, outputs[index], done, ready)
        assert not added.lost
        for start, part in added.final:
            track[:, start : start + part.shape[1]] = part
            ready = ready.add(start, start + part.shape[1])
        done = done.add(index, index + 1)
        overlap.drop_used_pieces(segment, added)
        if restart_every and count % restart_every == 0:
            overlap = OverlapAdd(plan, PieceStore(folder, STEMS, CHANNELS))
            assert overlap.recover(done, ready) == done
    assert not list(folder.iterdir())
    return track


@pytest.mark.parametrize(("overlap", "shifts"), [(0.25, 0), (0.0, 0), (0.6, 0), (0.25, 2), (0.5, 3)])
def test_order_and_interruptions_do_not_change_a_single_bit(
    tmp_path: Path, overlap: float, shifts: int
) -> None:
    plan = plan_track(1000, 100, [120], overlap=overlap, shifts=shifts)
    outputs = outputs_of(plan)
    forward = add_up(plan, outputs, list(range(len(plan.segments))), tmp_path / "a")
    assert np.isfinite(forward).all()
    order = list(range(len(plan.segments)))
    random.Random(3).shuffle(order)
    assert add_up(plan, outputs, order, tmp_path / "b", restart_every=2).tobytes() == forward.tobytes()


def test_sum_is_that_of_demucs(tmp_path: Path) -> None:
    plan = plan_track(1000, 100, [120])
    outputs = outputs_of(plan)
    weight = np.concatenate([np.arange(1, 61), np.arange(60, 0, -1)]) / 60
    expected = np.zeros((STEMS, 1000, CHANNELS))
    total = np.zeros(1000)
    for segment, out in zip(plan.segments, outputs, strict=True):
        expected[:, segment.start : segment.end] += out * weight[: segment.length, None]
        total[segment.start : segment.end] += weight[: segment.length]
    expected /= total[:, None]
    ours = add_up(plan, outputs, list(range(len(plan.segments))), tmp_path / "a")
    assert np.abs(ours - expected).max() < 1e-5


def test_a_segment_whose_kept_piece_is_cut_is_not_taken_up(tmp_path: Path) -> None:
    plan = plan_track(1000, 100, [120])
    outputs = outputs_of(plan)
    overlap = OverlapAdd(plan, PieceStore(tmp_path, STEMS, CHANNELS))
    added = overlap.add(plan.segments[0], outputs[0], RangeSet(), RangeSet())
    ready = RangeSet([(s, s + p.shape[1]) for s, p in added.final])
    done = RangeSet([(0, 1)])
    assert overlap.recover(done, ready) == done
    (piece,) = tmp_path.iterdir()
    piece.write_bytes(piece.read_bytes()[:-4])
    assert overlap.recover(done, ready) == RangeSet()


def damage(piece: Path, how: str) -> None:
    content = piece.read_bytes()
    match how:
        case "missing":
            piece.unlink()
        case "cut":
            piece.write_bytes(content[:-4])
        case "zeroed":
            piece.write_bytes(bytes(len(content)))
        case _:
            piece.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize("how", ["missing", "cut", "zeroed", "one bit"])
@pytest.mark.parametrize("overlap_share", [0.25, 0.6])
def test_a_lost_piece_makes_its_segment_run_again_and_no_bit_differs(
    tmp_path: Path, how: str, overlap_share: float
) -> None:
    plan = plan_track(1000, 100, [120], overlap=overlap_share)
    outputs = outputs_of(plan)
    expected = add_up(plan, outputs, list(range(len(plan.segments))), tmp_path / "whole")
    overlap = OverlapAdd(plan, PieceStore(tmp_path / "damaged", STEMS, CHANNELS))
    track = np.full_like(expected, np.nan)
    done, final = RangeSet(), RangeSet()
    waiting = [segment.index for segment in plan.segments]
    ran = 0
    while waiting:
        segment = plan.segments[waiting.pop(0)]
        ran += 1
        if ran == 4:
            damage(sorted((tmp_path / "damaged").iterdir())[0], how)
        added = overlap.add(segment, outputs[segment.index], done, final)
        for start, part in added.final:
            track[:, start : start + part.shape[1]] = part
            final = final.add(start, start + part.shape[1])
        done = done.add(segment.index, segment.index + 1)
        overlap.drop_used_pieces(segment, added)
        for index in added.lost:
            done = done.remove(index, index + 1)
            waiting.append(index)
    assert ran > len(plan.segments)
    assert track.tobytes() == expected.tobytes()
    assert not list((tmp_path / "damaged").iterdir())
