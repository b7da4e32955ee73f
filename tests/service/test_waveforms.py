"""ReadWaveform: what is final of a waveform, while the job runs and after."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from mismo.analysis.v1 import transfer_service_pb2 as pb
from tests.service.conftest import Server, StartServer
from tests.support.calls import RUNNING, Client, drained, refused, until
from tests.support.gates import Gate
from tests.support.tracks import RATE, write_track

STEMS = ["drums", "bass", "other", "vocals"]
Pairs = dict[int, tuple[int, int]]


class Drawn:
    """What a client draws of a stream; fails for what the contract does not allow."""

    def __init__(self, messages: Iterable[pb.ReadWaveformResponse] = ()) -> None:
        self.info: pb.WaveformInfo | None = None
        self.stems: dict[str, Pairs] = {}
        for message in messages:
            self.add(message)

    def add(self, message: pb.ReadWaveformResponse) -> None:
        assert message.HasField("info") == (self.info is None)
        if message.HasField("info"):
            self.info = message.info
            self.stems = {name: {} for name in message.info.stem_names}
        assert self.info is not None
        assert sum(len(each.peaks) for each in message.ranges) <= 64 << 10
        for each in message.ranges:
            drawn = self.stems[self.info.stem_names[each.stem_index]]
            for pixel, pair in enumerate(struct.iter_unpack("<hh", each.peaks), each.start_pixel):
                assert pixel not in drawn
                assert pixel < self.info.total_pixels
                drawn[pixel] = (pair[0], pair[1])

    @property
    def count(self) -> int:
        """Pixels of each stem that are there."""
        (count,) = {len(pairs) for pairs in self.stems.values()}
        return count


def stored(folder: Path, stem: str, frames_per_pixel: int) -> Pairs:
    """From the file that audiowaveform would write, merged by hand."""
    pairs = list(struct.iter_unpack("<hh", (folder / f"waveform-{stem}.dat").read_bytes()[24:]))
    factor = frames_per_pixel // 256
    merged: Pairs = {}
    for at in range(0, len(pairs), factor):
        pixel = pairs[at : at + factor]
        merged[at // factor] = (min(low for low, _ in pixel), max(high for _, high in pixel))
    return merged


async def read(client: Client, job_id: str, **fields: Any) -> Drawn:
    return Drawn(await drained(client.read_waveform(job_id, **fields)))


async def half_done(server: Server, music: Path, segments: int = 4) -> None:
    """A job that stands before its next segment, when some frames are final."""
    server.device.close()
    await server.client.submit(write_track(music / "a.wav", 6.0), job_id="job")
    server.device.allow(segments)
    await until(lambda: server.app.repository.active["job"].job.segments_done >= segments)
    await server.device.someone_waits()


@pytest.mark.parametrize("frames_per_pixel", [256, 1024, 256 * 77])
async def test_a_waveform_grows_with_its_job_and_ends_as_the_stored_one(
    server: Server, music: Path, frames_per_pixel: int
) -> None:
    await half_done(server, music)
    followed = Drawn()
    call = aiter(server.client.read_waveform("job", frames_per_pixel=frames_per_pixel, follow=True))
    followed.add(await anext(call))
    info = followed.info
    assert info is not None
    assert (list(info.stem_names), info.job_id) == (STEMS, "job")
    assert (info.sample_rate, info.total_frames, info.frames_per_pixel) == (RATE, 6 * RATE, frames_per_pixel)
    assert info.total_pixels == -(-6 * RATE // frames_per_pixel)

    ready = (await server.client.get("job")).stem_set.ready
    partial = await read(server.client, "job", frames_per_pixel=frames_per_pixel)
    # Who watches hears of a frame a moment later.
    for each in ready:
        start, end = -(-each.start_frame // frames_per_pixel), each.end_frame // frames_per_pixel
        assert set(range(start, end)) <= partial.stems["bass"].keys()
    assert 0 < partial.count < info.total_pixels
    while followed.count < partial.count:
        followed.add(await anext(call))
    assert followed.stems == partial.stems
    job = await server.client.get("job")
    assert (job.state, info.run_id) == (RUNNING, job.run_id)

    server.device.open()
    for message in await drained(call):
        followed.add(message)
    await server.client.succeeded("job")
    expected = {stem: stored(server.folder("job"), stem, frames_per_pixel) for stem in STEMS}
    assert followed.stems == expected
    after = await read(server.client, "job", frames_per_pixel=frames_per_pixel, expected_run_id=info.run_id)
    assert (after.info, after.stems) == (info, expected)
    await server.nothing_is_held()


async def test_some_stems_may_be_asked_for(server: Server, music: Path) -> None:
    await server.client.submit(write_track(music / "a.wav", 1.0), job_id="job")
    drawn = await read(server.client, "job", stem_names=["vocals", "bass"], follow=True)
    await server.client.succeeded("job")
    assert list(drawn.stems) == ["vocals", "bass"]
    assert drawn.stems == {stem: stored(server.folder("job"), stem, 256) for stem in ("vocals", "bass")}


async def test_a_restart_in_the_middle_shows_at_once_what_was_final(start: StartServer, music: Path) -> None:
    first = await start()
    await half_done(first, music)
    before = await read(first.client, "job")
    assert before.info is not None
    assert 0 < before.count < before.info.total_pixels
    first.device.open()
    await first.app.stop()

    gate = Gate()
    gate.close()
    second = await start(gate=gate)
    call = aiter(second.client.read_waveform("job", follow=True))
    again = Drawn([await anext(call)])
    assert again.info == before.info
    while again.count < before.count:
        again.add(await anext(call))
    # What the first server still had in work when it stopped is there too; no segment was computed here.
    assert gate.passed == 0
    for stem in STEMS:
        assert before.stems[stem].items() <= again.stems[stem].items()
    gate.open()
    for message in await drained(call):
        again.add(message)
    await second.client.succeeded("job")
    assert again.stems == {stem: stored(second.folder("job"), stem, 256) for stem in STEMS}
    await second.nothing_is_held()


async def test_who_follows_hears_how_the_job_ended(server: Server, music: Path) -> None:
    await half_done(server, music)
    call = aiter(server.client.read_waveform("job", follow=True))
    drawn = Drawn([await anext(call), await anext(call)])
    assert drawn.count > 0
    await server.client.cancel("job")
    refusal = await refused(drained(call))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "JOB_NOT_READY")
    assert "cancelled" in refusal.message
    assert (await refused(read(server.client, "job"))).reason == "JOB_NOT_READY"
    server.device.open()
    await server.nothing_is_held()


async def test_a_client_that_leaves_holds_nothing(server: Server, music: Path) -> None:
    await half_done(server, music)
    call = server.client.read_waveform("job", follow=True)
    await call.read()
    call.cancel()
    server.device.open()
    await server.client.succeeded("job")
    await server.nothing_is_held()


async def test_before_the_track_is_decoded(server: Server, music: Path) -> None:
    server.hold_decoders()
    await server.client.submit(write_track(music / "a.wav", 1.0), job_id="job")
    refusal = await refused(read(server.client, "job"))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "JOB_NOT_READY")
    # What is wrong with a request is said at once.
    refusal = await refused(read(server.client, "job", frames_per_pixel=100, follow=True))
    assert (refusal.reason, refusal.field) == ("INVALID_FIELD", "frames_per_pixel")
    call = server.client.read_waveform("job", follow=True)
    server.release_decoders()
    assert Drawn(await drained(call)).count == -(-RATE // 256)


async def test_another_run_than_the_expected_one_is_refused(server: Server, music: Path) -> None:
    await server.client.submit(write_track(music / "a.wav", 1.0), job_id="job")
    first = await server.client.succeeded("job")
    await server.client.submit(write_track(music / "b.wav", 1.0, seed=2), job_id="job")
    second = await server.client.succeeded("job")
    for follow in (False, True):
        refusal = await refused(read(server.client, "job", expected_run_id=first.run_id, follow=follow))
        assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "RUN_REPLACED")
        drawn = await read(server.client, "job", expected_run_id=second.run_id, follow=follow)
        assert drawn.info is not None
        assert drawn.info.run_id == second.run_id


async def test_a_finished_job_without_waveforms_says_so(server: Server, music: Path) -> None:
    await server.client.submit(write_track(music / "a.wav", 1.0), job_id="job")
    await server.client.succeeded("job")
    await server.idle()
    (server.folder("job") / "waveform-other.dat").unlink()
    refusal = await refused(read(server.client, "job"))
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "ARTIFACT_NOT_FOUND")
    assert "no waveforms" in refusal.message
    await server.nothing_is_held()


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"frames_per_pixel": 300}, "INVALID_FIELD", "frames_per_pixel"),
        ({"frames_per_pixel": -256}, "INVALID_FIELD", "frames_per_pixel"),
        ({"frames_per_pixel": (1 << 20) + 256}, "INVALID_FIELD", "frames_per_pixel"),
        ({"stem_names": ["flute"]}, "STEM_NOT_FOUND", "stem_names"),
        ({"stem_names": ["bass", "bass"]}, "INVALID_FIELD", "stem_names"),
    ],
)
async def test_what_is_wrong_with_a_request(
    server: Server, music: Path, fields: dict[str, Any], reason: str, field: str
) -> None:
    await server.client.submit(write_track(music / "a.wav", 1.0), job_id="job")
    await server.client.succeeded("job")
    refusal = await refused(read(server.client, "job", **fields))
    assert (refusal.reason, refusal.field) == (reason, field)
    assert (await refused(read(server.client, "nobody"))).reason == "JOB_NOT_FOUND"
    await server.nothing_is_held()
