"""The client against the server itself, with the small model: the same samples on both sides."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from mismo_client import AsyncClient, Client, Encoding, MismoRpcError, RunReplacedError, SeekRefusedError
from tests.unit.client.command import finish, mismo, start
from tests.unit.client.real_server import RATE, RealServer, write_music

pytestmark = pytest.mark.service

STEMS = ["bass", "drums", "other", "vocals"]


def samples_in(folder: Path) -> dict[str, np.ndarray]:
    return {file.stem: soundfile.read(file, dtype="int16")[0] for file in sorted(folder.iterdir())}


def assert_equal(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert ours.keys() == theirs.keys()
    for name, samples in ours.items():
        assert np.array_equal(samples, theirs[name]), name
        assert samples.any(), name


def pixels_of(samples: np.ndarray, frames_per_pixel: int) -> list[np.ndarray]:
    """The mean over the channels, cut into pixels."""
    mono = samples.astype(np.float64).mean(axis=1)
    return [mono[start : start + frames_per_pixel] for start in range(0, mono.size, frames_per_pixel)]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RealServer]:
    write_music(tmp_path / "music" / "song.wav", 14.5)
    server = RealServer(tmp_path)
    await server.start()
    yield server
    await server.end()


def job_of(err: str) -> str:
    (line,) = [line for line in err.splitlines() if line.startswith("job ")]
    return line.removeprefix("job ").split(",")[0]


async def test_separated_files_equal_the_servers_own(server: RealServer, tmp_path: Path) -> None:
    song = server.folder / "music" / "song.wav"
    done = await mismo(server.target, "separate", song, "-o", "out", "--playhead", "0:09.5", cwd=tmp_path)
    assert done.code == 0, done.err
    theirs = server.stems(job_of(done.err))
    assert list(theirs) == STEMS
    assert_equal(samples_in(tmp_path / "out" / "song"), theirs)

    flac = await mismo(
        server.target,
        "separate",
        song,
        "-o",
        "flac",
        "--format",
        "flac",
        "--two-stems",
        "vocals",
        cwd=tmp_path,
    )
    assert flac.code == 0, flac.err
    assert_equal(samples_in(tmp_path / "flac" / "song"), server.stems(job_of(flac.err)))

    # The server may not read this one, so it travels; the same content makes the same stems.
    elsewhere = tmp_path / "elsewhere.wav"
    elsewhere.write_bytes(song.read_bytes())
    sent = await mismo(server.target, "separate", elsewhere, "-o", "out", cwd=tmp_path)
    assert sent.code == 0, sent.err
    assert "uploading it" in sent.err
    assert_equal(samples_in(tmp_path / "out" / "elsewhere"), theirs)

    read = await mismo(
        server.target, "read", job_of(sent.err), "bass", "--start", "2", "-o", "b.wav", cwd=tmp_path
    )
    assert read.code == 0, read.err
    assert np.array_equal(soundfile.read(tmp_path / "b.wav", dtype="int16")[0], theirs["bass"][2 * RATE :])

    drawn = await mismo(server.target, "waveform", job_of(sent.err), "--json", cwd=tmp_path)
    assert drawn.code == 0, drawn.err
    for line in drawn.text.splitlines():
        drawing = json.loads(line)
        highest = [max(part) for part in pixels_of(theirs[drawing["stem_name"]], drawing["frames_per_pixel"])]
        assert [pair[1] for pair in drawing["pixels"]] == pytest.approx(highest, abs=1)

    loud = await mismo(
        server.target, "submit", song, "--stage", "loudness", "--job-id", "loud", "--wait", cwd=tmp_path
    )
    assert (loud.code, loud.text) == (0, "loud\n"), loud.err
    assert re.search(
        r"loudness succeeded: -\d+\.\d LUFS, range \d+\.\d LU, true peak -?\d+\.\d dBTP", loud.err
    )
    listed = await mismo(server.target, "stages", cwd=tmp_path)
    assert re.search(r"^loudness +yes", listed.text, re.MULTILINE)
    assert re.search(r"^generation +yes", listed.text, re.MULTILINE)

    late = await mismo(server.target, "separate", song, "-o", "out", "--playhead", "60", cwd=tmp_path)
    assert late.code == 1
    assert "PLAYHEAD_BEYOND_END" in late.err.splitlines()[-1]


async def test_a_server_killed_and_drained_on_the_way_changes_nothing(tmp_path: Path) -> None:
    song = tmp_path / "music" / "song.wav"
    write_music(song, 40.0)
    server = RealServer(tmp_path)
    await server.start()
    process = await start(server.target, "separate", song, "-o", "out", "--playhead", "20", cwd=tmp_path)
    assert process.stderr is not None
    said = b""
    while b"first audio" not in said:
        line = await process.stderr.readline()
        assert line, said.decode()
        said += line
    await server.end(kill=True)
    await server.start()
    async with AsyncClient(server.target) as client:
        async for event in client.watch(job_of(said.decode())):
            if event.HasField("segment_ready"):
                break
    await server.end()
    await server.start()
    done = await finish(process)
    assert done.code == 0, done.err
    assert_equal(samples_in(tmp_path / "out" / "song"), server.stems(job_of(said.decode())))
    await server.end()


async def test_the_whole_interface_meets_the_server(server: RealServer, tmp_path: Path) -> None:
    song = server.folder / "music" / "song.wav"
    async with AsyncClient(server.target) as client:
        assert (await client.info()).default_model == "mismo_lite"
        assert any(model.is_default for model in await client.models())
        checked = await client.submit(song, validate_only=True)
        assert [job async for job in client.list()] == [], checked
        uploaded = await client.upload(song)
        assert uploaded.sha256 == hashlib.sha256(song.read_bytes()).hexdigest()
        assert (await client.get_upload(uploaded.upload_id)).complete
        job_id = (await client.submit(uploaded, playhead=3.0, labels={"deck": "A"})).job.job_id
        async with client.stream_stems(job_id, encoding=Encoding.ENCODING_FLAC, follow=True) as player:
            assert (await player.format()).codec_header.startswith(b"fLaC")
            await anext(player)
            await player.seek(10 * RATE)
            after = await anext(player)
            assert after.generation == 1
            assert after.start_frame <= 10 * RATE < after.start_frame + after.frame_count
        job = await client.wait(job_id)
        assert player.run_id == job.run_id
        with pytest.raises(SeekRefusedError):
            await player.seek(time=14.5)
        assert [one.job_id async for one in client.list(labels={"deck": "A"})] == [job_id]
        theirs = server.stems(job_id)

        async with client.read_stem(job_id, "drums", frame_limit=1000) as reading:
            heard = b"".join([chunk.data async for chunk in reading])
        assert heard == theirs["drums"][:1000].tobytes()

        async with client.stream_stems(job_id, start_time=0.0, buffer_seconds=0.5) as player:
            whole = dict.fromkeys((await player.format()).stem_names, b"")
            async for chunk in player:
                whole[chunk.stem_name] += chunk.data
            checksums = player.stem_sha256
        assert checksums == {name: hashlib.sha256(samples).hexdigest() for name, samples in whole.items()}
        assert whole == {name: samples.tobytes() for name, samples in theirs.items()}

        artifacts = {artifact.name: artifact for artifact in job.artifacts}
        archive = await client.artifact(job_id, artifacts["stems.zip"], tmp_path / "stems.zip")
        assert archive.read_bytes().startswith(b"PK")
        async with aclosing(client.watch_jobs(labels={"deck": "A"})) as watching:
            assert (await anext(watching)).job.run_id == job.run_id
            cursor = (await anext(watching)).cursor
        with pytest.raises(RunReplacedError):
            await anext(client.stream_stems(job_id, expected_run_id="another"))
        sample = await anext(client.watch_resources())
        assert sample.memory_used_bytes > 0
        with pytest.raises(MismoRpcError, match="JOB_NOT_READY"):
            await client.update(job_id, playhead=1.0)
        await client.delete(job_id, expected_run_id=job.run_id)
        await client.delete(job_id, allow_missing=True)
        async with aclosing(client.watch_jobs(labels={"deck": "A"}, cursor=cursor)) as watching:
            assert (await anext(watching)).deleted.job_id == job_id
        with pytest.raises(MismoRpcError, match="JOB_NOT_FOUND"):
            await client.get(job_id)

    def without_a_loop() -> bytes:
        with Client(server.target) as plain:
            again = plain.submit(song, playhead=3.0).job.job_id
            with plain.stem(again, "vocals", follow=True) as stem:
                return b"".join(chunk.data for chunk in stem)

    assert await asyncio.to_thread(without_a_loop) == theirs["vocals"].tobytes()


@pytest.mark.parametrize(
    "window", [{"credit_bytes": 32_768}, {"credit_bytes": 65_536, "buffer_seconds": 0.5}]
)
async def test_seeks_past_the_end_before_the_length_is_known_cost_no_frame_and_no_credit(
    server: RealServer, window: dict[str, Any]
) -> None:
    song = server.folder / "music" / "song.wav"
    async with AsyncClient(server.target) as client:
        job_id = (await client.submit(song)).job.job_id
        async with client.stream_stems(job_id, follow=True, **window) as player:
            for seconds in (14.5, 15.0, 3600.0):
                await player.seek(time=seconds)
            with pytest.raises(
                SeekRefusedError, match=r"seek\.start_time is frame 158760000; the track ends"
            ):
                await anext(player)
            with pytest.raises(SeekRefusedError, match="past the end"):
                await player.seek(time=3600.0)
            assert player.generation == 0
            whole = dict.fromkeys((await player.format()).stem_names, b"")
            async for chunk in player:
                whole[chunk.stem_name] += chunk.data
        job = await client.wait(job_id)
        assert whole == {name: samples.tobytes() for name, samples in server.stems(job.job_id).items()}
