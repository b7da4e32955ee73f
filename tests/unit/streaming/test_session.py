"""A stream by its rules: what it sends, where it begins, checksums, how it ends, and what is refused."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import av
import numpy as np
import pytest

from mismo_grpc.audio.encode import Encoding
from mismo_grpc.audio.flac import BLOCK_FRAMES
from mismo_grpc.errors import (
    InvalidFieldError,
    JobFailedError,
    JobNotReadyError,
    MismoError,
    RunReplacedError,
    SeparationFailedError,
    StemNotFoundError,
    StreamProtocolError,
)
from mismo_grpc.jobs.job import JobState
from mismo_grpc.streaming.messages import (
    Chunk,
    ClientMessage,
    Credit,
    End,
    EndOfStem,
    Info,
    NotReady,
    NotReadyReason,
    Open,
    ResumePoint,
    Seek,
    SeekApplied,
    ServerMessage,
)
from mismo_grpc.streaming.positions import TimePosition
from mismo_grpc.streaming.stream_control import MAX_CREDIT
from tests.unit.streaming.growing_stems import STEMS, GrowingStems
from tests.unit.streaming.talking import PLENTY, all_of, audio, check_generation, of, session, until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


async def test_a_finished_job_is_sent_whole_and_interleaved_by_time(folder: Path) -> None:
    track = GrowingStems(folder)
    track.sha256s = ("aa", "bb", "cc")
    said = await all_of(session(track.open, Open("track", credit=Credit(PLENTY), chunk_bytes=4096)))

    assert said[0] == Info(
        job_id="track",
        run_id="run",
        server_epoch="epoch",
        model="mismo_lite",
        encoding=Encoding.PCM_S16LE,
        stem_names=STEMS,
        total_frames=20_000,
        sample_rate=8_000,
        channels=2,
        bits_per_sample=16,
        codec_header=b"",
        chunk_bytes=4096,
        max_chunk_frames=1024,
        segment_frames=48_000,
        idle_seconds=30.0,
    )
    chunks = of(said, Chunk)
    check_generation(chunks, dict.fromkeys(range(3), 0))
    assert all(len(chunk.data) <= 4096 for chunk in chunks)
    for place, name in enumerate(STEMS):
        assert audio(chunks, place) == track.pcm(name)
    ends = of(said, EndOfStem)
    assert [(end.stem_index, end.stem_sha256) for end in ends] == [(0, "aa"), (1, "bb"), (2, "cc")]
    assert said[-1] == End(0)
    assert track.readers == 0


async def test_stems_come_in_the_order_asked(folder: Path) -> None:
    track = GrowingStems(folder)
    said = await all_of(session(track.open, Open("track", ("other", "drums"), credit=Credit(PLENTY))))
    assert of(said, Info)[0].stem_names == ("other", "drums")
    assert audio(of(said, Chunk), 0) == track.pcm("other")
    assert audio(of(said, Chunk), 1) == track.pcm("drums")


@pytest.mark.parametrize("stored", [Encoding.PCM_S16LE, Encoding.PCM_S24LE, Encoding.PCM_F32LE])
@pytest.mark.parametrize("wanted", [Encoding.PCM_S16LE, Encoding.PCM_S24LE, Encoding.PCM_F32LE])
async def test_any_pcm_comes_from_any_other(folder: Path, stored: Encoding, wanted: Encoding) -> None:
    track = GrowingStems(folder, encoding=stored)
    said = await all_of(session(track.open, Open("track", encoding=wanted, credit=Credit(PLENTY))))
    assert audio(of(said, Chunk), 1) == track.pcm("bass", wanted)


def decode_flac(content: bytes) -> np.ndarray:
    """Samples [frames, 2] of a FLAC stream."""
    with av.open(io.BytesIO(content), "r") as container:
        return np.concatenate([frame.to_ndarray().reshape(-1, 2) for frame in container.decode(audio=0)])


@pytest.mark.parametrize("start", [0, BLOCK_FRAMES, BLOCK_FRAMES + 1, 19_999])
async def test_flac_is_whole_frames_behind_one_header_and_loses_nothing(folder: Path, start: int) -> None:
    track = GrowingStems(folder)
    opened = Open("track", encoding=Encoding.FLAC, start=start, credit=Credit(PLENTY), chunk_bytes=4096)
    said = await all_of(session(track.open, opened))
    info, chunks = of(said, Info)[0], of(said, Chunk)
    aligned = start - start % BLOCK_FRAMES
    check_generation(chunks, dict.fromkeys(range(3), aligned))
    for place, name in enumerate(STEMS):
        decoded = decode_flac(info.codec_header + audio(chunks, place))
        expected = np.frombuffer(track.pcm(name, start=aligned), "<i2").reshape(-1, 2)
        np.testing.assert_array_equal(decoded, expected)
    for chunk in chunks:
        # Each chunk is decodable by itself: it holds no part of a FLAC frame.
        assert len(decode_flac(info.codec_header + chunk.data)) == chunk.frame_count


@pytest.mark.parametrize(
    ("stored", "wanted", "bits"),
    [
        (Encoding.PCM_F32LE, Encoding.PCM_F32LE, 32),
        (Encoding.PCM_S16LE, Encoding.PCM_S24LE, 24),
        (Encoding.PCM_S16LE, Encoding.FLAC, 16),
        (Encoding.PCM_F32LE, Encoding.FLAC, 24),
    ],
)
async def test_the_bits_of_a_sample_are_those_that_a_decoder_gives(
    folder: Path, stored: Encoding, wanted: Encoding, bits: int
) -> None:
    track = GrowingStems(folder, encoding=stored)
    said = await all_of(session(track.open, Open("track", encoding=wanted)))
    assert of(said, Info)[0].bits_per_sample == bits


@pytest.mark.parametrize("peak", [0.0, 0.9])
@pytest.mark.parametrize("encoding", [Encoding.PCM_S16LE, Encoding.PCM_F32LE, Encoding.FLAC])
@pytest.mark.parametrize("chunk_bytes", [4_096, 50_000, 65_536])
async def test_no_chunk_has_more_frames_than_announced(
    folder: Path, peak: float, encoding: Encoding, chunk_bytes: int
) -> None:
    track = GrowingStems(folder, 200_000, peak=peak)
    opened = Open("track", encoding=encoding, credit=Credit(PLENTY), chunk_bytes=chunk_bytes)
    said = await all_of(session(track.open, opened))
    counts = [chunk.frame_count for chunk in of(said, Chunk)]
    assert max(counts) <= of(said, Info)[0].max_chunk_frames
    if encoding is not Encoding.FLAC or peak == 0:
        # FLAC makes noise larger than it was: there the bytes end a chunk first.
        assert max(counts) == of(said, Info)[0].max_chunk_frames
    assert of(said, Info)[0].max_chunk_frames <= max(chunk_bytes // 4, BLOCK_FRAMES)


# Where it begins


async def test_a_start_may_be_a_time(folder: Path) -> None:
    track = GrowingStems(folder)
    opened = Open("track", start=TimePosition(1_000_124_999), credit=Credit(PLENTY))
    said = await all_of(session(track.open, opened))
    assert of(said, Chunk)[0].start_frame == 8_000


async def test_a_client_that_comes_back_counts_its_generations_on(folder: Path) -> None:
    track = GrowingStems(folder, ready=[(0, 1_000)])
    stream = session(track.open, Open("track", credit=Credit(PLENTY), generation=41))
    async with aclosing(stream.messages()) as messages:
        assert (await until(messages, Chunk)).generation == 41
        assert (await until(messages, NotReady)).generation == 41
        stream.on_message(Seek(42, 500))
        assert (await until(messages, SeekApplied)).generation == 42
        stream.on_message(Seek(42, 600))
        with pytest.raises(StreamProtocolError, match="must grow"):
            await until(messages, SeekApplied)


async def test_another_run_than_the_expected_one_is_refused_without_audio(folder: Path) -> None:
    track = GrowingStems(folder)
    with pytest.raises(RunReplacedError) as caught:
        await all_of(session(track.open, Open("track", credit=Credit(PLENTY), expected_run_id="earlier")))
    assert caught.value.metadata == {"expected_run_id": "earlier", "run_id": "run"}
    expected = await all_of(session(track.open, Open("track", credit=Credit(PLENTY), expected_run_id="run")))
    assert expected[-1] == End(0)


# Checksums


@pytest.mark.parametrize("encoding", [Encoding.PCM_S16LE, Encoding.PCM_S24LE, Encoding.FLAC])
async def test_whoever_hashes_what_came_gets_the_checksum_also_while_the_job_runs(
    folder: Path, encoding: Encoding
) -> None:
    track = GrowingStems(folder, 400_000, ends_itself=False)
    points = (ResumePoint("bass", 5_000), ResumePoint("other", 400_000))
    opened = Open("track", encoding=encoding, credit=Credit(PLENTY), resume_points=points)
    stream = session(track.open, opened)
    async with aclosing(stream.messages()) as messages:
        await until(messages, Chunk)
        # What a generation that was cut short has sent counts for nothing.
        stream.on_message(Seek(1, 123_456))
        said: list[ServerMessage] = [await anext(messages)]
        while not isinstance(said[-1], End):
            said.append(await anext(messages))
    chunks = [chunk for chunk in of(said, Chunk) if chunk.generation == 1]
    ends = of(said, EndOfStem)
    assert [end.stem_sha256 for end in ends] == ["", "", ""]
    for end in ends:
        mine = [chunk for chunk in chunks if chunk.stem_index == end.stem_index]
        assert end.start_frame == mine[0].start_frame
        assert end.sha256 == hashlib.sha256(b"".join(chunk.data for chunk in mine)).hexdigest()


async def test_each_stem_is_summed_from_where_it_was_resumed(folder: Path) -> None:
    track = GrowingStems(folder)
    points = (ResumePoint("bass", 5_001), ResumePoint("other", 20_000))
    said = await all_of(session(track.open, Open("track", credit=Credit(PLENTY), resume_points=points)))
    ends = {end.stem_index: end for end in of(said, EndOfStem)}
    assert [ends[place].start_frame for place in range(3)] == [0, 5_001, 20_000]
    for place, name in enumerate(STEMS):
        sent = track.pcm(name, start=ends[place].start_frame)
        assert ends[place].sha256 == hashlib.sha256(sent).hexdigest()


# Resume points


async def test_each_stem_goes_on_at_its_own_frame_and_the_last_ones_first(folder: Path) -> None:
    track = GrowingStems(folder)
    points = (ResumePoint("drums", 15_000), ResumePoint("other", 2_000))
    said = await all_of(
        session(track.open, Open("track", start=9_000, credit=Credit(PLENTY), resume_points=points))
    )
    chunks = of(said, Chunk)
    starts = {0: 15_000, 1: 9_000, 2: 2_000}
    check_generation(chunks, starts)
    for place, name in enumerate(STEMS):
        assert audio(chunks, place) == track.pcm(name, start=starts[place])
    # Those that caught up are read together again.
    assert track.reader.stems_read == 3


# The end of the job


async def test_a_job_that_fails_ends_the_stream_with_its_error_after_what_is_ready(folder: Path) -> None:
    track = GrowingStems(folder, ready=[(0, 1_000)])
    stream = session(track.open, Open("track", ("bass",), credit=Credit(PLENTY)))
    async with aclosing(stream.messages()) as messages:
        await until(messages, NotReady)
        track.end(JobState.FAILED, SeparationFailedError("segment 3 failed twice"))
        with pytest.raises(JobFailedError, match="segment 3 failed twice") as caught:
            await anext(messages)
    assert caught.value.form.reason == "SEPARATION_FAILED"
    assert (track.readers, track.players) == (0, set())


async def test_of_an_ended_job_no_reason_to_wait_is_told(folder: Path) -> None:
    track = GrowingStems(folder, ready=[(0, 1_000)])
    stream = session(track.open, Open("track", ("bass",), credit=Credit(PLENTY)))
    async with aclosing(stream.messages()) as messages:
        await until(messages, NotReady)
        # As of a job whose separation is gone.
        track.reason = NotReadyReason.QUEUED
        track.end(JobState.FAILED, SeparationFailedError("segment 3 failed twice"))
        with pytest.raises(JobFailedError):
            await anext(messages)

    late = session(track.open, Open("track", ("bass",), credit=Credit(PLENTY)))
    async with aclosing(late.messages()) as messages:
        await until(messages, Chunk)
        with pytest.raises(JobFailedError):
            await anext(messages)


async def test_a_cancelled_job_ends_the_stream(folder: Path) -> None:
    track = GrowingStems(folder, ready=[])
    stream = session(track.open, Open("track", credit=Credit(PLENTY)))
    async with aclosing(stream.messages()) as messages:
        await until(messages, NotReady)
        track.end(JobState.CANCELLED)
        with pytest.raises(JobNotReadyError):
            await anext(messages)


# The scheduler


async def test_the_scheduler_is_told_where_a_following_player_is(folder: Path) -> None:
    track = GrowingStems(folder, 1_600_000, sample_rate=192_000, ready=[(0, 1_400_000)])
    stream = session(track.open, Open("track", start=100, credit=Credit(PLENTY), follow=True))
    async with aclosing(stream.messages()) as messages:
        await until(messages, NotReady)
        assert track.players
        assert track.followed[0] == 100
        assert track.followed[-1] == 1_400_000
        assert track.followed == sorted(track.followed)
        # One second of audio apart at least, however fast it goes.
        told = track.followed[:-1]
        assert all(after - before >= 192_000 for before, after in itertools.pairwise(told))
        assert len(told) > 3
    assert track.players == set()


async def test_a_player_that_does_not_follow_is_no_business_of_the_scheduler(folder: Path) -> None:
    track = GrowingStems(folder, ready=[(0, 600)])
    stream = session(track.open, Open("track", credit=Credit(PLENTY)))
    async with aclosing(stream.messages()) as messages:
        await until(messages, NotReady)
    assert track.followed == []


# Wrong messages


def wrong_messages() -> Iterator[tuple[list[ClientMessage], type[MismoError], str]]:
    yield [Credit(5)], StreamProtocolError, "open"
    yield [Seek(1, 0)], StreamProtocolError, "open"
    yield [], StreamProtocolError, "open"
    yield [Open("t"), Open("t")], StreamProtocolError, "open"
    yield [Open("t", chunk_bytes=4_095)], InvalidFieldError, "open.chunk_bytes"
    yield [Open("t", chunk_bytes=1_048_577)], InvalidFieldError, "open.chunk_bytes"
    yield [Open("t", chunk_bytes=-1)], InvalidFieldError, "open.chunk_bytes"
    yield [Open("t", start=-1)], InvalidFieldError, "open.start_frame"
    yield [Open("t", start=20_001)], InvalidFieldError, "open.start_frame"
    yield [Open("t", credit=Credit(-1))], InvalidFieldError, "open.credit.bytes"
    yield [Open("t", credit=Credit(MAX_CREDIT + 1))], StreamProtocolError, "open.credit.bytes"
    yield [Open("t", ("piano",))], StemNotFoundError, "open.stem_names"
    yield [Open("t", ("bass", "bass"))], InvalidFieldError, "open.stem_names"
    yield [Open("t", resume_points=(ResumePoint("piano", 0),))], StemNotFoundError, "open.resume_points"
    yield [Open("t", resume_points=(ResumePoint("bass", 20_001),))], InvalidFieldError, "open.resume_points"
    yield [Open("t", resume_points=(ResumePoint("bass", -1),))], InvalidFieldError, "open.resume_points"
    yield (
        [Open("t", resume_points=(ResumePoint("bass", 0), ResumePoint("bass", 1)))],
        InvalidFieldError,
        "open.resume_points",
    )
    yield (
        [Open("t", ("drums",), resume_points=(ResumePoint("bass", 0),))],
        InvalidFieldError,
        "open.resume_points",
    )
    yield [Open("t"), Credit(-1)], InvalidFieldError, "credit.bytes"
    yield [Open("t", credit=Credit(1)), Credit(MAX_CREDIT)], StreamProtocolError, "credit.bytes"
    yield [Open("t"), Seek(0, 0)], StreamProtocolError, "seek.generation"
    yield [Open("t"), Seek(2, 0), Seek(2, 5)], StreamProtocolError, "seek.generation"
    yield [Open("t"), Seek(2, 0), Seek(1, 5)], StreamProtocolError, "seek.generation"
    yield [Open("t"), Seek(1, -1)], InvalidFieldError, "seek.start_frame"
    yield [Open("t"), Seek(1, TimePosition(-1))], InvalidFieldError, "seek.start_time"
    yield [Open("t"), Seek(1, 0, Credit(-1))], InvalidFieldError, "seek.credit.bytes"
    yield [Open("t"), Seek(1, 0, Credit(0, -1))], InvalidFieldError, "seek.credit.frames"
    yield [Open("t"), Credit(0, -1)], InvalidFieldError, "credit.frames"
    yield [Open("t", credit=Credit(0, 1)), Credit(0, MAX_CREDIT)], StreamProtocolError, "credit.frames"
    yield [Open("t", credit=Credit(0, -1))], InvalidFieldError, "open.credit.frames"
    yield [Open("t", start=TimePosition(-1))], InvalidFieldError, "open.start_time"
    yield [Open("t", start=TimePosition(2_500_125_000))], InvalidFieldError, "open.start_time"
    yield [Open("t", generation=-1)], InvalidFieldError, "open.generation"
    yield [Open("t", generation=3), Seek(3, 0)], StreamProtocolError, "seek.generation"


@pytest.mark.parametrize(("said", "error", "field"), list(wrong_messages()))
async def test_a_wrong_message_ends_the_session_and_names_its_field(
    folder: Path, said: list[ClientMessage], error: type[MismoError], field: str
) -> None:
    track = GrowingStems(folder)
    with pytest.raises(error) as caught:
        await all_of(session(track.open, *said))
    assert type(caught.value) is error
    assert caught.value.field == field
    assert field.split(".")[0] in caught.value.message
    assert track.readers == 0


async def test_start_at_the_end_gives_the_end(folder: Path) -> None:
    track = GrowingStems(folder)
    said = await all_of(session(track.open, Open("track", start=20_000)))
    assert [type(message) for message in said] == [Info, EndOfStem, EndOfStem, EndOfStem, End]
