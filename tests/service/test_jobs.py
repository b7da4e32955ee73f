"""Jobs from submit to their results, as a client sees them."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from grpc_health.v1 import health_pb2

from mismo.analysis.v1.transfer_service_pb2 import GetArtifactRequest
from tests.service.conftest import Server
from tests.support.calls import (
    FLAC,
    PATIENCE,
    PCM_F32LE,
    PCM_S16LE,
    PCM_S24LE,
    SUCCEEDED,
    health_stub,
    names_of,
    options,
    ready_ranges,
    seconds,
    stage_states,
)
from tests.support.tracks import RATE, RESULT_FILES, WAVEFORMS, stem_samples, write_track

STEMS = ["drums", "bass", "other", "vocals"]
FRAMES = 3 * RATE


async def test_a_track_becomes_stems_that_every_road_gives_alike(server: Server, music: Path) -> None:
    client = server.client
    submitted = await client.submit(write_track(music / "a.wav", 3.0), labels={"deck": "A"})
    job_id = submitted.job.job_id
    played = await client.play(job_id, follow=True)
    job = await client.succeeded(job_id)

    assert list(played.info.stem_names) == STEMS
    assert played.info.total_frames == FRAMES
    assert stage_states(job) == {"DECODE": "SUCCEEDED", "STEMS": "SUCCEEDED", "WAVEFORMS": "SUCCEEDED"}
    assert job.labels == {"deck": "A"}
    assert [(r.start_frame, r.end_frame) for r in job.stem_set.ready] == [(0, FRAMES)]
    assert job.progress.fraction == 1.0
    assert job.progress.segments_done == job.progress.segments_total > 1
    for name, streamed in zip(STEMS, played.stems, strict=True):
        assert len(streamed) == FRAMES * 4
        assert streamed == stem_samples(server.stems(job_id) / f"{name}.wav")
        assert streamed == await client.read_stem(job_id, name)
        assert streamed[1000 * 4 : 1500 * 4] == await client.read_stem(
            job_id, name, start_frame=1000, frame_limit=500
        )
    again = await client.play(job_id)
    assert again.stems == played.stems
    assert again.sha256 == [hashlib.sha256(stem).hexdigest() for stem in again.stems]


async def test_stems_sum_up_to_what_the_model_made_of_the_mix(server: Server, music: Path) -> None:
    """Two stems are a stem and the sum of the others, so their sum is that of all four."""
    track = write_track(music / "a.wav", 2.0)
    four = await server.client.submit(track, wanted=options(encoding=PCM_F32LE))
    two = await server.client.submit(track, wanted=options(two_stems="vocals", encoding=PCM_F32LE))
    all_four = await server.client.play(four.job.job_id, encoding=PCM_F32LE)
    both = await server.client.play(two.job.job_id, encoding=PCM_F32LE)
    assert list(both.info.stem_names) == ["vocals", "no_vocals"]
    stems = [np.frombuffer(stem, "<f4") for stem in all_four.stems]
    vocals, rest = (np.frombuffer(stem, "<f4") for stem in both.stems)
    np.testing.assert_array_equal(vocals, stems[3])
    np.testing.assert_allclose(rest, stems[0] + stems[1] + stems[2], atol=1e-5)


async def test_some_stems_alone(server: Server, music: Path) -> None:
    track = write_track(music / "a.wav", 2.0)
    some = await server.client.submit(track, wanted=options(stem_names=["bass", "drums"]))
    job = await server.client.succeeded(some.job.job_id)
    every = await server.client.submit(track)
    await server.client.succeeded(every.job.job_id)
    assert sorted(p.name for p in server.stems(job.job_id).iterdir()) == ["bass.wav", "drums.wav"]
    for name in ("bass", "drums"):
        assert (server.stems(job.job_id) / f"{name}.wav").read_bytes() == (
            server.stems(every.job.job_id) / f"{name}.wav"
        ).read_bytes()


async def test_artifacts_are_whole_and_say_what_they_are(server: Server, music: Path) -> None:
    client, track = server.client, write_track(music / "a.wav", 2.0)
    job = await client.succeeded((await client.submit(track, wanted=options(playhead=0.5))).job.job_id)
    assert set(names_of(job)) == {"stems.json", "stems.zip", *WAVEFORMS}

    for artifact in job.artifacts:
        content = await client.artifact(job.job_id, artifact.name)
        request = GetArtifactRequest(job_id=job.job_id, name=artifact.name)
        first = await anext(aiter(client.transfer.GetArtifact(request)))
        assert (first.artifact, first.run_id) == (artifact, job.run_id)
        assert artifact.total_bytes == len(content)
        of_content = hashlib.sha256(content).hexdigest()
        assert artifact.sha256 == ("" if artifact.name == "stems.zip" else of_content)
        kinds = {".json": "application/json", ".zip": "application/zip", ".dat": "application/octet-stream"}
        assert artifact.content_type == kinds[Path(artifact.name).suffix]

    archive = await client.artifact(job.job_id, "stems.zip")
    assert archive[1000:] == await client.artifact(job.job_id, "stems.zip", offset=1000)
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == [f"{name}.wav" for name in STEMS]
        assert {entry.compress_type for entry in opened.infolist()} == {zipfile.ZIP_STORED}
        for name in STEMS:
            assert opened.read(f"{name}.wav") == (server.stems(job.job_id) / f"{name}.wav").read_bytes()

    document = json.loads(await client.artifact(job.job_id, "stems.json"))
    assert document["job_id"] == job.job_id
    assert document["model"] == "tiny"
    assert (document["frames"], document["sample_rate"], document["channels"]) == (2 * RATE, RATE, 2)
    assert document["settings"]["playhead"] == 0.5
    assert document["source"]["sha256"] == hashlib.sha256(track.read_bytes()).hexdigest()
    for entry, name in zip(document["stems"], STEMS, strict=True):
        content = (server.stems(job.job_id) / f"{name}.wav").read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert (
            entry["pcm_sha256"]
            == hashlib.sha256(stem_samples(server.stems(job.job_id) / entry["file"])).hexdigest()
        )
    assert 0 < document["timings"]["time_to_first_audio"] <= document["timings"]["total"]
    times = {"time_to_first_audio", "time_to_playhead_audio"}
    assert set(document["timings"]) == {"total", "decode", "stems", *times}
    for time in times:
        assert getattr(job, time) == seconds(document["timings"][time])
    await server.idle()
    assert {p.name for p in server.folder(job.job_id).iterdir()} == RESULT_FILES


@pytest.mark.parametrize("sample_rate", [0, 22_050])
async def test_a_finished_job_has_a_waveform_of_every_stem(
    server: Server, music: Path, sample_rate: int
) -> None:
    client, wanted = server.client, options(sample_rate=sample_rate)
    job = await client.succeeded(
        (await client.submit(write_track(music / "a.wav"), wanted=wanted)).job.job_id
    )
    again = await client.submit(write_track(music / "b.wav"), wanted=wanted)
    assert again.cache_hit
    assert names_of(again.job) == names_of(job)
    # stems.json names its job.
    assert list(again.job.artifacts)[1:] == list(job.artifacts)[1:]
    for name in STEMS:
        document = json.loads(await client.artifact(job.job_id, f"waveform-{name}.json"))
        stem = np.frombuffer(await client.read_stem(job.job_id, name), "<i2").reshape(-1, 2)
        assert document["sample_rate"] == (sample_rate or RATE)
        assert (document["samples_per_pixel"], document["bits"], document["channels"]) == (256, 16, 1)
        mono = np.trunc(stem.astype(np.int32).sum(axis=1) / 2).astype(int)
        pixels = [mono[at : at + 256] for at in range(0, len(mono), 256)]
        assert document["data"] == [int(v) for pixel in pixels for v in (pixel.min(), pixel.max())]
        binary = await client.artifact(job.job_id, f"waveform-{name}.dat")
        assert struct.unpack("<iIiiIi", binary[:24]) == (2, 0, sample_rate or RATE, 256, len(pixels), 1)
        assert np.frombuffer(binary[24:], "<i2").tolist() == document["data"]
        assert await client.artifact(again.job.job_id, f"waveform-{name}.dat") == binary


@pytest.mark.parametrize(
    ("encoding", "subtype", "step"),
    [(PCM_S16LE, "PCM_16", 2**-15), (PCM_S24LE, "PCM_24", 2**-23), (PCM_F32LE, "FLOAT", 0.0)],
)
async def test_stem_files_come_in_the_encoding_that_was_asked(
    server: Server, music: Path, encoding: int, subtype: str, step: float
) -> None:
    track = write_track(music / "a.wav", 1.0)
    exact = await server.client.succeeded(
        (await server.client.submit(track, wanted=options(encoding=PCM_F32LE))).job.job_id
    )
    job = await server.client.succeeded(
        (await server.client.submit(track, wanted=options(encoding=encoding))).job.job_id
    )
    for name in STEMS:
        assert soundfile.info(server.stems(job.job_id) / f"{name}.wav").subtype == subtype
        samples, _ = soundfile.read(server.stems(job.job_id) / f"{name}.wav", dtype="float64")
        reference, _ = soundfile.read(server.stems(exact.job_id) / f"{name}.wav", dtype="float64")
        # Full scale is one step below 1, and what lies between two steps is cut off: as demucs does it.
        assert np.abs(samples - np.clip(reference, -1, 1)).max() <= 2 * step


async def test_one_job_streams_in_every_encoding(server: Server, music: Path) -> None:
    job_id = (await server.client.submit(write_track(music / "a.wav", 2.0))).job.job_id
    await server.client.succeeded(job_id)
    for index, name in enumerate(STEMS):
        stored = np.frombuffer(stem_samples(server.stems(job_id) / f"{name}.wav"), "<i2")
        wide = (await server.client.play(job_id, encoding=PCM_S24LE)).stems[index]
        padded = np.frombuffer(wide, np.uint8).reshape(-1, 3)
        value = np.zeros((len(padded), 4), np.uint8)
        value[:, 1:] = padded
        np.testing.assert_array_equal(value.view("<i4")[:, 0] >> 16, stored)
        floats = (await server.client.play(job_id, encoding=PCM_F32LE)).stems[index]
        np.testing.assert_array_equal(np.frombuffer(floats, "<f4") * 32768, stored)
        played = await server.client.play(job_id, encoding=FLAC)
        flac, _ = soundfile.read(io.BytesIO(played.info.codec_header + played.stems[index]), dtype="int16")
        np.testing.assert_array_equal(flac.reshape(-1), stored)


async def test_separation_begins_at_the_playhead_and_gives_the_same_stems(
    server: Server, music: Path
) -> None:
    client, track = server.client, write_track(music / "a.wav", 4.0)
    straight = await client.succeeded((await client.submit(track)).job.job_id)
    server.device.close()
    late = await client.submit(track, job_id="late", wanted=options(playhead=2.5, overlap=0.25, shifts=0))
    assert late.cache_hit
    other = await client.submit(write_track(music / "b.wav", 4.0, seed=2), wanted=options(playhead=2.5))
    server.device.open()
    events = await client.events(other.job.job_id)
    first = ready_ranges(events)[0]
    assert first[0] <= 2.5 * RATE < first[1]
    assert straight.state == SUCCEEDED


async def test_shifts_and_overlap_are_what_demucs_makes_of_them(server: Server, music: Path) -> None:
    track = write_track(music / "a.wav", 2.0)
    plain = await server.client.succeeded((await server.client.submit(track)).job.job_id)
    shifted = await server.client.succeeded(
        (await server.client.submit(track, wanted=options(shifts=2, overlap=0.5))).job.job_id
    )
    assert shifted.progress.segments_total > 2 * plain.progress.segments_total
    assert shifted.options.stems.shifts == 2
    assert shifted.options.stems.overlap == 0.5


async def test_health_says_when_jobs_are_taken_and_when_the_model_is_warm(server: Server) -> None:
    health = health_stub(server.client.channel)
    serving = health_pb2.HealthCheckResponse.SERVING
    for service in ("", "mismo.analysis.v1.JobService", "mismo.analysis.v1.TransferService"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == serving
    watch = health.Watch(health_pb2.HealthCheckRequest(service="mismo.analysis.v1.Model"), timeout=PATIENCE)
    async for answer in watch:
        if answer.status == serving:
            break
    assert (await server.client.info()).warm_models == ["tiny"]
    watch.cancel()


async def test_stems_come_at_another_rate_where_that_is_asked(server: Server, music: Path) -> None:
    track = write_track(music / "a.wav", 2.0)
    job_id = (await server.client.submit(track, wanted=options(sample_rate=48_000))).job.job_id
    played = await server.client.play(job_id, follow=True)
    assert (played.info.sample_rate, played.info.total_frames) == (48_000, 96_000)
    await server.client.succeeded(job_id)
    for name, streamed in zip(STEMS, played.stems, strict=True):
        assert soundfile.info(server.stems(job_id) / f"{name}.wav").samplerate == 48_000
        assert streamed == stem_samples(server.stems(job_id) / f"{name}.wav")
