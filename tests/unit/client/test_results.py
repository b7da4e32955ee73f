"""Results by the name of their stage, and comparisons, over both clients."""

from __future__ import annotations

import asyncio

import pytest

from mismo.analysis.v1 import results_pb2
from mismo_client import AsyncClient, Client, stage_result
from tests.unit.client.analysed import analysed
from tests.unit.client.peer import Peer


async def test_a_result_is_found_by_the_name_of_its_stage(peer: Peer) -> None:
    job = analysed(peer.job())
    features = stage_result(job, "basic_features")
    assert features is not None
    assert features.key.camelot == "11A"
    assert stage_result(job, "genre") is None, "it failed"
    assert stage_result(job, "loudness") is None, "it is no part of the job"
    assert stage_result(job, "decode") is None, "it has no result"
    with pytest.raises(ValueError, match="no stage"):
        stage_result(job, "beats")


async def test_tracks_are_compared(peer: Peer, client: AsyncClient) -> None:
    peer.comparison = results_pb2.TrackComparison(score=0.75)
    assert (await client.compare_tracks("a", "b", max_cue_pairs=2)).score == 0.75

    def blocking() -> results_pb2.TrackComparison:
        with Client(peer.target) as other:
            return other.compare_tracks("b", "a")

    assert (await asyncio.to_thread(blocking)).score == 0.75
    asked = [(one.outgoing_job_id, one.incoming_job_id, one.max_cue_pairs) for one in peer.compares]
    assert asked == [("a", "b", 2), ("b", "a", 0)]
