"""Stems in other formats: as a stage of the job, or made when they are first read."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import soundfile

from mismo.analysis.v1 import job_pb2, stage_pb2
from tests.service.conftest import Server, StartServer
from tests.service.exports.shared import STEMS, exported, finished, flac, mp3, stem_mp4, wanted
from tests.service.gateway.test_gateway import client_of
from tests.support.calls import names_of, options, refused
from tests.support.http import receiver
from tests.support.tracks import RATE, write_track

SECONDS = 2.0
FRAMES = int(SECONDS * RATE)


def decoded(content: bytes) -> np.ndarray:
    samples, _ = soundfile.read(io.BytesIO(content), dtype="int16", always_2d=True)
    return samples


async def test_a_job_makes_the_formats_that_it_asks_for(server: Server, music: Path) -> None:
    client = server.client
    await client.submit(
        write_track(music / "a.wav", SECONDS), job_id="job", wanted=wanted(mp3, flac, stem_mp4)
    )
    job = await client.succeeded("job")
    files = [f"{stem}.{suffix}" for suffix in ("mp3", "flac") for stem in STEMS]
    archives = ["stems-mp3.zip", "stems-flac.zip"]
    assert {*files, *archives, "track.stem.mp4"} <= set(names_of(job))
    assert job.options.export.mp3_kbps == 320
    for artifact in job.artifacts:
        content = await client.artifact("job", artifact.name)
        assert len(content) == artifact.total_bytes
        if artifact.name not in (*archives, "stems.zip"):
            assert hashlib.sha256(content).hexdigest() == artifact.sha256
    for stem in STEMS:
        wav, _ = soundfile.read(server.stems("job") / f"{stem}.wav", dtype="int16", always_2d=True)
        np.testing.assert_array_equal(decoded(await client.artifact("job", f"{stem}.flac")), wav)
    with zipfile.ZipFile(io.BytesIO(await client.artifact("job", "stems-mp3.zip"))) as archive:
        assert archive.namelist() == [f"{stem}.mp3" for stem in STEMS]
        assert archive.testzip() is None
        assert archive.read("bass.mp3") == await client.artifact("job", "bass.mp3")


async def test_an_export_is_made_when_it_is_first_read_and_kept(server: Server, music: Path) -> None:
    await finished(server, music, "job", SECONDS)
    before = await server.client.get("job")
    async with client_of(server) as http:
        first = await http.get("/jobs/job/artifacts/vocals.mp3")
        assert first.status_code == 200
        assert first.headers["content-type"] == "audio/mpeg"
        made = exported(server, "job")
        assert set(made) == {"vocals-320.mp3", "vocals-320.mp3.json"}
        modified = (server.folder("job") / "exports" / "vocals-320.mp3").stat().st_mtime_ns
        again = await http.get("/jobs/job/stems/vocals.mp3", headers={"range": "bytes=100-199"})
        assert (again.status_code, again.content) == (206, first.content[100:200])
        head = await http.head("/jobs/job/stems-flac.zip")
        archive = await http.get("/jobs/job/stems-flac.zip")
        assert head.headers["content-length"] == str(len(archive.content))
        assert head.headers["content-type"] == "application/zip"
        assert (await http.get("/jobs/job/track.stem.mp4")).headers["content-type"] == "audio/mp4"
        assert (await http.get("/jobs/job/stems/bass.flac")).headers["content-type"] == "audio/flac"
        assert "repr-digest" in again.headers
    assert (server.folder("job") / "exports" / "vocals-320.mp3").stat().st_mtime_ns == modified
    # The record of a finished job does not change.
    assert await server.client.get("job") == before
    await server.nothing_is_held()


async def test_the_stage_and_a_later_read_give_the_same_bytes(
    start: StartServer, music: Path, tmp_path: Path
) -> None:
    server = await start()
    track = write_track(music / "a.wav", SECONDS)
    await server.client.submit(track, job_id="stage", wanted=wanted(mp3, flac, stem_mp4))
    await server.client.succeeded("stage")
    other = await start(jobs_dir=tmp_path / "other")
    await other.client.submit(track, job_id="later")
    await other.client.succeeded("later")
    for name in ("drums.mp3", "drums.flac", "track.stem.mp4", "stems-mp3.zip", "stems-flac.zip"):
        assert await server.client.artifact("stage", name) == await other.client.artifact("later", name)


async def test_the_bit_rate_of_the_job_is_that_of_its_files(server: Server, music: Path) -> None:
    track = write_track(music / "a.wav", SECONDS)
    await server.client.submit(track, job_id="low", wanted=wanted(flac, mp3_kbps=128))
    await server.client.succeeded("low")
    low = await server.client.artifact("low", "bass.mp3")
    # A job that shares its files asks for another rate.
    answer = await server.client.submit(track, job_id="high", wanted=wanted(mp3))
    assert answer.cache_hit
    await server.client.succeeded("high")
    assert len(await server.client.artifact("high", "bass.mp3")) > 2 * len(low)
    assert await server.client.artifact("low", "bass.mp3") == low


async def test_a_reused_result_is_exported_without_being_separated_again(server: Server, music: Path) -> None:
    track = write_track(music / "a.wav", SECONDS)
    await server.client.submit(track, job_id="first")
    await server.client.succeeded("first")
    server.device.close()
    for job_id in ("second", "third"):
        answer = await server.client.submit(track, job_id=job_id, wanted=wanted(flac))
        assert answer.cache_hit
        job = await server.client.succeeded(job_id)
        assert {"vocals.flac", "stems-flac.zip"} <= set(names_of(job))
    second, third = (server.folder(name) / "exports" / "bass.flac" for name in ("second", "third"))
    # The files of an earlier export are linked, not made again.
    assert second.stat().st_ino == third.stat().st_ino
    await server.client.delete("first")
    await server.client.delete("second")
    assert decoded(await server.client.artifact("third", "bass.flac")).shape == (FRAMES, 2)


async def test_a_damaged_export_of_an_earlier_run_is_made_anew(server: Server, music: Path) -> None:
    track = write_track(music / "a.wav", SECONDS)
    await server.client.submit(track, job_id="first", wanted=wanted(flac))
    await server.client.succeeded("first")
    whole = await server.client.artifact("first", "bass.flac")
    path = server.folder("first") / "exports" / "bass.flac"
    path.write_bytes(bytes(len(whole)))
    await server.client.submit(track, job_id="second", wanted=wanted(flac))
    await server.client.succeeded("second")
    assert await server.client.artifact("second", "bass.flac") == whole


async def test_only_exports_are_asked_for_and_the_stems_come_with_them(server: Server, music: Path) -> None:
    only = job_pb2.JobOptions(stages=[stage_pb2.STAGE_EXPORT], export=stage_pb2.ExportOptions(formats=[flac]))
    await server.client.submit(write_track(music / "a.wav"), job_id="job", wanted=only)
    job = await server.client.succeeded("job")
    assert {"stems.zip", "drums.flac"} <= set(names_of(job))


async def test_what_cannot_be_exported_is_refused_at_the_submit(server: Server, music: Path) -> None:
    track = write_track(music / "a.wav")

    async def fault(message: job_pb2.JobOptions) -> tuple[str, str, str]:
        found = await refused(server.client.submit(track, wanted=message))
        return found.code, found.field, found.message

    two = wanted(stem_mp4)
    two.stems.two_stems = "vocals"
    code, field, message = await fault(two)
    assert (code, field) == ("INVALID_ARGUMENT", "options.export.formats")
    assert "STEM_MP4 needs the four stems" in message
    assert "ask for FLAC or MP3" in message
    fast = wanted(mp3)
    fast.stems.output.sample_rate = 96_000
    code, field, message = await fault(fast)
    assert (code, field) == ("INVALID_ARGUMENT", "options.export.formats")
    assert "44100 or 48000" in message
    assert (await fault(wanted()))[1] == "options.export.formats"
    assert (await fault(wanted(mp3, mp3_kbps=333)))[1] == "options.export.mp3_kbps"
    unknown = wanted(mp3)
    unknown.export.formats.append(99)  # pyright: ignore[reportArgumentType]  # what a newer client sends
    assert (await fault(unknown))[1] == "options.export.formats"
    without = options()
    without.export.formats.append(mp3)
    assert (await fault(without))[1] == "options.export"


async def test_what_cannot_be_exported_is_refused_when_it_is_read(server: Server, music: Path) -> None:
    track = write_track(music / "a.wav")
    await server.client.submit(track, job_id="two", wanted=options(two_stems="vocals"))
    await server.client.succeeded("two")
    found = await refused(server.client.artifact("two", "track.stem.mp4"))
    assert (found.code, found.reason) == ("FAILED_PRECONDITION", "EXPORT_NOT_POSSIBLE")
    assert "this job has vocals, no_vocals; ask for FLAC or MP3" in found.message
    assert decoded(await server.client.artifact("two", "no_vocals.flac")).shape == (FRAMES, 2)
    await server.client.submit(track, job_id="fast", wanted=options(sample_rate=96_000))
    await server.client.succeeded("fast")
    assert (await refused(server.client.artifact("fast", "bass.mp3"))).reason == "EXPORT_NOT_POSSIBLE"
    for name in ("guitar.mp3", "../bass.mp3", "bass.ogg", ".mp3", "bass-320.mp3"):
        assert (await refused(server.client.artifact("two", name))).reason == "ARTIFACT_NOT_FOUND"
    async with client_of(server) as http:
        assert (await http.get("/jobs/two/track.stem.mp4")).status_code == 409
        assert (await http.get("/jobs/two/stems/tuba.flac")).status_code == 404
        assert (await http.get("/jobs/nobody/stems/bass.flac")).status_code == 404


async def test_there_is_no_export_before_the_stems_are_finished(server: Server, music: Path) -> None:
    server.device.close()
    await server.client.submit(write_track(music / "a.wav"), job_id="job")
    assert (await refused(server.client.artifact("job", "bass.mp3"))).reason == "JOB_NOT_READY"


async def test_a_callback_names_the_exports(server: Server, music: Path) -> None:
    async with receiver() as app_server:
        await server.client.submit(
            write_track(music / "a.wav"),
            job_id="job",
            wanted=wanted(flac),
            callback=job_pb2.Callback(url=app_server.url),
        )
        posts = await app_server.received(2)
    (post,) = (post.body for post in posts if post.body["stage"] == "export")
    assert post["data"]["exports"]["bass.flac"] == "/jobs/job/artifacts/bass.flac"


async def test_exports_are_copied_to_the_container_and_read_from_there(
    start: StartServer, music: Path, tmp_path: Path
) -> None:
    container = tmp_path / "container"
    container.mkdir()
    server = await start(blob_container=container.as_uri())
    await server.client.submit(write_track(music / "a.wav"), job_id="job", wanted=wanted(flac, stem_mp4))
    job = await server.client.succeeded("job")
    await server.idle()
    names = {blob.name for blob in job.blobs}
    assert {"exports/bass.flac", "exports/track.stem.mp4"} <= names
    content = await server.client.artifact("job", "bass.flac")
    shutil.rmtree(server.folder("job").resolve())
    assert await server.client.artifact("job", "bass.flac") == content
    # Without the stems nothing else can be made.
    found = await refused(server.client.artifact("job", "bass.mp3"))
    assert found.reason == "ARTIFACT_NOT_FOUND"
    assert (await refused(server.client.artifact("job", "stems-flac.zip"))).reason == "ARTIFACT_NOT_FOUND"
