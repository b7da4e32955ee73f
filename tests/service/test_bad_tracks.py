"""Tracks that are none, tracks that are odd, and paths that are not to be read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import soundfile

from tests.service.conftest import Server, StartServer
from tests.support.calls import FAILED, SUCCEEDED, Client, options, refusal_of, refused, stage_states
from tests.support.tracks import RATE, noise, write_adts, write_silent_film, write_track


async def ends_with(client: Client, path: Path, **more: Any) -> tuple[str, str]:
    """(code, reason) of the error that a track leads to: of the submit, or of the job."""
    try:
        submitted = await client.submit(path, **more)
    except grpc.aio.AioRpcError as error:
        refusal = refusal_of(error)
        assert refusal.field == "source.path"
        return refusal.code, refusal.reason
    job = await client.ended(submitted.job.job_id)
    assert job.state == FAILED, job
    assert "/" not in job.error.message.replace("and/or", "")
    return "job", job.error.reason


async def works_on(server: Server, music: Path) -> None:
    """The next job is none the worse for it, and nothing of the bad one is left."""
    submitted = await server.client.submit(write_track(music / "good.wav", 0.5, seed=77))
    await server.client.succeeded(submitted.job.job_id)
    await server.nothing_is_held()
    kept = {job.job_id for job in (await server.client.list(states=[SUCCEEDED])).jobs}
    assert {path.name for path in server.jobs_dir.iterdir()} == {".mismo", *kept}


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("These are the words of a song, not its sound.\n" * 50)


def header_alone(path: Path) -> None:
    soundfile.write(path, np.zeros((0, 2), np.float32), RATE, format="WAV")


def zeros(path: Path) -> None:
    path.write_bytes(bytes(5000))


@pytest.mark.parametrize(
    ("make", "name", "reasons"),
    [
        (empty, "a.wav", {"EMPTY_AUDIO"}),
        (text, "a.mp3", {"UNSUPPORTED_AUDIO"}),
        (write_silent_film, "a.mp4", {"NO_AUDIO_STREAM"}),
        (header_alone, "a.wav", {"EMPTY_AUDIO"}),
        (zeros, "a.flac", {"UNSUPPORTED_AUDIO"}),
    ],
)
async def test_what_is_no_track_is_refused_with_a_reason(
    server: Server, music: Path, make: Callable[[Path], object], name: str, reasons: set[str]
) -> None:
    make(music / name)
    _, reason = await ends_with(server.client, music / name)
    assert reason in reasons
    await works_on(server, music)


async def test_a_truncated_mp3_gives_what_is_there(server: Server, music: Path) -> None:
    soundfile.write(music / "whole.mp3", noise(4.0), RATE, format="MP3")
    content = (music / "whole.mp3").read_bytes()
    (music / "half.mp3").write_bytes(content[: len(content) // 2])
    job = await server.client.succeeded((await server.client.submit(music / "half.mp3")).job.job_id)
    assert 1.0 * RATE < job.stem_set.total_frames < 4.0 * RATE
    (music / "shred.mp3").write_bytes(content[:40])
    assert (await ends_with(server.client, music / "shred.mp3"))[1] in {
        "CORRUPT_AUDIO",
        "UNSUPPORTED_AUDIO",
        "EMPTY_AUDIO",
    }
    await works_on(server, music)


@pytest.mark.parametrize(
    ("rate", "channels", "frames"),
    [(RATE, 2, 1), (RATE, 1, 1), (8_000, 1, 8_000), (192_000, 2, 96_000), (48_000, 6, 24_000), (RATE, 2, 7)],
)
async def test_odd_shapes_become_stereo_stems_of_the_right_length(
    server: Server, music: Path, rate: int, channels: int, frames: int
) -> None:
    samples = noise(frames / rate, rate=rate, channels=channels)
    soundfile.write(music / "a.wav", samples, rate, subtype="PCM_24")
    submitted = await server.client.submit(music / "a.wav")
    job = await server.client.succeeded(submitted.job.job_id)
    expected = round(frames * RATE / rate)
    assert job.stem_set.total_frames == expected
    assert job.stem_set.channels == 2
    for name in job.stem_set.stem_names:
        stem, _ = soundfile.read(server.stems(job.job_id) / f"{name}.wav", always_2d=True)
        assert stem.shape == (expected, 2)
    played = await server.client.play(job.job_id)
    assert {len(stem) for stem in played.stems} == {expected * 4}


async def test_samples_that_are_no_numbers_are_silenced_and_told(server: Server, music: Path) -> None:
    samples = noise(1.0)
    samples[1000:1100, 0] = np.nan
    samples[5000, 1] = np.inf
    soundfile.write(music / "a.wav", samples, RATE, subtype="FLOAT")
    job = await server.client.succeeded((await server.client.submit(music / "a.wav")).job.job_id)
    assert any("101 samples" in warning for warning in job.warnings)
    for name in job.stem_set.stem_names:
        stem, _ = soundfile.read(server.stems(job.job_id) / f"{name}.wav")
        assert np.isfinite(stem).all()
        assert np.abs(stem).max() > 0


@pytest.mark.parametrize("value", [0.0, 0.5])
async def test_silence_and_a_constant_stay_finite(server: Server, music: Path, value: float) -> None:
    soundfile.write(music / "a.wav", np.full((RATE, 2), value, np.float32), RATE, subtype="FLOAT")
    submitted = await server.client.submit(music / "a.wav", wanted=options(encoding=3))
    job = await server.client.succeeded(submitted.job.job_id)
    for name in job.stem_set.stem_names:
        stem, _ = soundfile.read(server.stems(job.job_id) / f"{name}.wav")
        assert np.isfinite(stem).all()
        if value == 0.0:
            assert np.abs(stem).max() < 1e-3


async def test_a_track_longer_than_the_limit_is_refused(start: StartServer, music: Path) -> None:
    server = await start(max_track_seconds=1.0)
    refusal = await refused(server.client.submit(write_track(music / "a.wav", 1.5)))
    assert refusal.code == "INVALID_ARGUMENT"
    assert refusal.field == "source.path"
    assert "1.5" in refusal.message or "2 s" in refusal.message
    await works_on(server, music)


async def test_a_track_whose_length_only_the_decoder_learns_ends_with_an_error_on_the_job(
    start: StartServer, music: Path
) -> None:
    """A stream of plain AAC frames says nothing of its length."""
    server = await start(max_track_seconds=1.0)
    write_adts(music / "a.aac", 3.0)
    _, reason = await ends_with(server.client, music / "a.aac")
    assert reason in {"TRACK_TOO_LONG", "INVALID_FIELD"}
    await works_on(server, music)


async def test_a_playhead_that_only_the_decoder_can_refuse_ends_the_job(server: Server, music: Path) -> None:
    write_adts(music / "a.aac", 2.0)
    submitted = await server.client.submit(music / "a.aac", wanted=options(playhead=100.0))
    job = await server.client.ended(submitted.job.job_id)
    assert (job.state, job.error.reason) == (FAILED, "PLAYHEAD_BEYOND_END")
    assert job.error.code == 3
    assert stage_states(job)["STEMS"] == "FAILED"
    await works_on(server, music)


async def test_a_source_that_vanishes_before_it_is_read_ends_the_job(server: Server, music: Path) -> None:
    server.hold_decoders()
    track = write_track(music / "a.wav", 1.0)
    await server.client.submit(track, job_id="job")
    track.unlink()
    server.release_decoders()
    job = await server.client.ended("job")
    assert (job.state, job.error.reason) == (FAILED, "SOURCE_NOT_FOUND")
    assert str(music) not in job.error.message
    await works_on(server, music)


async def test_a_source_that_becomes_a_link_outside_before_it_is_read_is_not_followed(
    server: Server, music: Path, tmp_path: Path
) -> None:
    secret = write_track(tmp_path / "secret.wav", 1.0, seed=9)
    server.hold_decoders()
    track = write_track(music / "a.wav", 1.0)
    await server.client.submit(track, job_id="job")
    track.unlink()
    track.symlink_to(secret)
    server.release_decoders()
    job = await server.client.ended("job")
    assert (job.state, job.error.reason) == (FAILED, "SOURCE_PATH_FORBIDDEN")
    assert str(secret) not in job.error.message


@pytest.mark.parametrize(
    ("path", "code", "reason"),
    [
        ("{tmp}/outside.wav", "PERMISSION_DENIED", "SOURCE_PATH_FORBIDDEN"),
        ("{tmp}/not-there.wav", "PERMISSION_DENIED", "SOURCE_PATH_FORBIDDEN"),
        ("{music}/../outside.wav", "PERMISSION_DENIED", "SOURCE_PATH_FORBIDDEN"),
        ("{music}/link.wav", "PERMISSION_DENIED", "SOURCE_PATH_FORBIDDEN"),
        ("{music}/folder-link/outside.wav", "PERMISSION_DENIED", "SOURCE_PATH_FORBIDDEN"),
        ("{tmp}/music-too/a.wav", "PERMISSION_DENIED", "SOURCE_PATH_FORBIDDEN"),
        ("/etc/passwd", "PERMISSION_DENIED", "SOURCE_PATH_FORBIDDEN"),
        ("/proc/self/environ", "PERMISSION_DENIED", "SOURCE_PATH_FORBIDDEN"),
        ("{music}/none.wav", "NOT_FOUND", "SOURCE_NOT_FOUND"),
        ("{music}/loop", "NOT_FOUND", "SOURCE_NOT_FOUND"),
        ("{music}/folder", "INVALID_ARGUMENT", "INVALID_FIELD"),
        ("{music}/pipe", "INVALID_ARGUMENT", "INVALID_FIELD"),
        ("{music}/nul\0.wav", "INVALID_ARGUMENT", "INVALID_FIELD"),
        ("{music}/" + "x" * 5000, "NOT_FOUND", "SOURCE_NOT_FOUND"),
        ("relative.wav", "INVALID_ARGUMENT", "INVALID_FIELD"),
        ("", "INVALID_ARGUMENT", "INVALID_FIELD"),
    ],
)
async def test_a_path_that_may_not_be_read_is_refused(
    server: Server, music: Path, tmp_path: Path, path: str, code: str, reason: str
) -> None:
    write_track(tmp_path / "outside.wav", 0.2)
    (tmp_path / "music-too").mkdir()
    write_track(tmp_path / "music-too" / "a.wav", 0.2)
    (music / "link.wav").symlink_to(tmp_path / "outside.wav")
    (music / "folder-link").symlink_to(tmp_path)
    (music / "loop").symlink_to(music / "loop")
    (music / "folder").mkdir()
    os.mkfifo(music / "pipe")
    sent = path.format(tmp=tmp_path, music=music)
    refusal = await refused(server.client.submit(sent))
    assert (refusal.code, refusal.reason, refusal.field) == (code, reason, "source.path")
    # Neither the real place of a link nor anything else that was not sent.
    assert str(tmp_path / "outside.wav") not in refusal.message
    assert not (await server.client.list()).jobs


async def test_a_link_inside_the_roots_is_fine(server: Server, music: Path) -> None:
    write_track(music / "a.wav", 0.5)
    (music / "b.wav").symlink_to(music / "a.wav")
    await server.client.succeeded((await server.client.submit(music / "b.wav")).job.job_id)


async def test_a_name_that_ffmpeg_might_take_for_something_else_is_a_file(
    server: Server, music: Path
) -> None:
    for name in ("concat:a.wav", "http:__x.wav", "-i.wav", "a%03d.wav", "näme \u97f3\u697d.wav"):
        track = write_track(music / name, 0.3, seed=len(name))
        await server.client.succeeded((await server.client.submit(track)).job.job_id)


@pytest.mark.parametrize(
    "settings", [{"allow_file_paths": False}, {"allowed_path_prefixes": []}], ids=["off", "no roots"]
)
async def test_paths_can_be_off(start: StartServer, music: Path, settings: dict[str, object]) -> None:
    server = await start(**settings)
    refusal = await refused(server.client.submit(write_track(music / "a.wav", 0.5)))
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "SOURCE_PATH_FORBIDDEN")
    assert "upload" in refusal.message
