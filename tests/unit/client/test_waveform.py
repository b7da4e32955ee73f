"""Peaks arrive whole, each pixel once, of one run."""

from __future__ import annotations

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mismo_client import AsyncClient, Client, RunReplacedError, WaveformRange
from mismo_client.transfer.ranges import Ranges
from tests.unit.client.peer import Peer
from tests.unit.client.peer_stream import SAMPLE_RATE, StreamFault
from tests.unit.client.peer_transfer import JOB_ID, PIXELS, STEM_NAMES


def put_together(ranges: list[WaveformRange]) -> dict[str, bytes]:
    """The peaks by stem; fails if a pixel came twice or never."""
    whole: dict[str, bytes] = {}
    for name in {part.stem_name for part in ranges}:
        parts = sorted(part for part in ranges if part.stem_name == name)
        reached = 0
        for part in parts:
            assert part.start_pixel == reached
            reached += part.pixel_count
        whole[name] = b"".join(part.peaks for part in parts)
    return whole


async def test_peaks_arrive_with_their_form(peer: Peer, client: AsyncClient) -> None:
    async with client.read_waveform(JOB_ID, frames_per_pixel=512) as reading:
        form = await reading.format()
        assert (form.run_id, form.stem_names, form.sample_rate) == ("run-1", STEM_NAMES, SAMPLE_RATE)
        assert (form.frames_per_pixel, form.total_pixels, form.total_frames) == (512, PIXELS, PIXELS * 256)
        ranges = [part async for part in reading]
    assert put_together(ranges) == peer.peaks
    assert ranges[0].pairs() == list(struct.iter_unpack("<hh", ranges[0].peaks))


async def test_some_stems_of_a_running_job_are_followed(peer: Peer, client: AsyncClient) -> None:
    async with client.read_waveform(JOB_ID, stems=["bass"], follow=True) as reading:
        assert put_together([part async for part in reading]) == {"bass": peer.peaks["bass"]}
    (request,) = peer.waveform_reads
    assert (list(request.stem_names), request.follow, request.frames_per_pixel) == (["bass"], True, 0)


@pytest.mark.parametrize(
    "fault", [StreamFault(break_after=0), StreamFault(break_after=2), StreamFault(corrupt=1)]
)
async def test_a_broken_stream_brings_no_pixel_twice(
    peer: Peer, client: AsyncClient, fault: StreamFault
) -> None:
    peer.waveform_faults.append(fault)
    async with client.read_waveform(JOB_ID) as reading:
        assert put_together([part async for part in reading]) == peer.peaks
    expected = ["", "" if fault.break_after == 0 else "run-1"]
    assert [request.expected_run_id for request in peer.waveform_reads] == expected


@pytest.mark.parametrize("refuses", [True, False])
async def test_a_waveform_is_of_one_run(peer: Peer, client: AsyncClient, refuses: bool) -> None:
    peer.refuses_other_runs = refuses
    peer.waveform_faults.append(StreamFault(break_after=1))
    async with client.read_waveform(JOB_ID) as reading:
        for _ in STEM_NAMES:
            await anext(reading)
        peer.run_again()
        with pytest.raises(RunReplacedError):
            await anext(reading)


async def test_without_a_loop_it_is_the_same(peer: Peer) -> None:
    def read() -> dict[str, bytes]:
        with Client(peer.target) as client, client.read_waveform(JOB_ID) as reading:
            assert reading.format().total_pixels == PIXELS
            return put_together(list(reading))

    assert await asyncio.to_thread(read) == peer.peaks


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=30))
def test_ranges_tell_what_is_new(additions: list[tuple[int, int]]) -> None:
    ranges, known = Ranges(), set[int]()
    for start, length in additions:
        wanted = set(range(start, start + length))
        new = [number for begin, end in ranges.add(start, start + length) for number in range(begin, end)]
        assert len(new) == len(set(new))
        assert set(new) == wanted - known
        known |= wanted
