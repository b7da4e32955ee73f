"""Stems in other formats, from the command line and the client to the server itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mismo_client import AsyncClient
from mismo_client.exports import export_options, exported_names
from tests.unit.client.command import mismo
from tests.unit.client.real_server import RealServer, write_music

STEMS = ["bass", "drums", "other", "vocals"]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RealServer]:
    write_music(tmp_path / "music" / "song.wav", 3.0)
    server = RealServer(tmp_path)
    await server.start()
    yield server
    await server.end()


@pytest.mark.service
async def test_a_separation_brings_its_exports(server: RealServer, tmp_path: Path) -> None:
    song = server.folder / "music" / "song.wav"
    done = await mismo(
        server.target, "separate", song, "-o", "out", "--export", "flac,stem.mp4,mp3", cwd=tmp_path
    )
    assert done.code == 0, done.err
    folder = tmp_path / "out" / "song"
    expected = {f"{stem}.{suffix}" for stem in STEMS for suffix in ("wav", "flac", "mp3")}
    assert {path.name for path in folder.iterdir()} == {*expected, "song.stem.mp4"}
    assert {f"out/song/{name}" for name in (*expected, "song.stem.mp4")} == set(done.text.splitlines())
    for stem in STEMS:
        wav, flac = (soundfile.read(folder / f"{stem}.{each}", dtype="int16")[0] for each in ("wav", "flac"))
        np.testing.assert_array_equal(wav, flac)
    async with AsyncClient(server.target) as client:
        (job,) = [job async for job in client.list()]
    assert {"vocals.mp3", "stems-mp3.zip", "track.stem.mp4"} <= {each.name for each in job.artifacts}


@pytest.mark.service
async def test_a_finished_job_is_exported_later(server: RealServer, tmp_path: Path) -> None:
    song = server.folder / "music" / "song.wav"
    async with AsyncClient(server.target) as client:
        job = (await client.submit(song, job_id="later")).job
        async for _ in client.watch(job.job_id):
            pass
    done = await mismo(
        server.target, "export", "later", "--format", "mp3,stem.mp4", "-o", "x/y", cwd=tmp_path
    )
    assert done.code == 0, done.err
    names = sorted([*(f"{stem}.mp3" for stem in STEMS), "track.stem.mp4"])
    assert sorted(path.name for path in (tmp_path / "x" / "y").iterdir()) == names
    missing = await mismo(server.target, "export", "nobody", cwd=tmp_path)
    assert missing.code == 1
    assert "nobody" in missing.err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["separate", "song.wav", "--export", "ogg"], "'ogg' is no format"),
        (["separate", "song.wav", "--export", "flac", "--format", "flac"], "leave one out"),
        (["export", "job", "--format", ","], "at least one format"),
    ],
)
async def test_wrong_usage_is_told(arguments: list[str], word: str, tmp_path: Path) -> None:
    (tmp_path / "song.wav").write_bytes(b"")
    done = await mismo("127.0.0.1:1", *arguments, cwd=tmp_path)
    assert done.code == 2
    assert word in " ".join(done.err.replace("│", " ").split())


def test_formats_have_the_names_that_people_use() -> None:
    assert exported_names("mp3", ["bass"]) == ["bass.mp3"]
    assert exported_names("stem.mp4", ["bass"]) == ["track.stem.mp4"]
    assert export_options(()) is None
    with pytest.raises(ValueError, match="none of flac, mp3, stem"):
        export_options(["wav"])
    with pytest.raises(ValueError, match="must be a list"):
        export_options("mp3")
