"""The client, the server itself and a blob container: generated stems, blobs as sources, links."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mismo_client import AsyncClient, Client, MismoRpcError
from mismo_grpc.storage.blobs.azure_account import DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY
from tests.support.blob_servers import Azurite, azurite
from tests.unit.client.command import mismo
from tests.unit.client.real_server import RATE, RealServer, write_music

pytestmark = pytest.mark.service

OPTIONS = ["--bpm", "90", "--duration", "3", "--style", "rock", "--chords", "Am F C G", "--seed", "7"]


@pytest.fixture
def container(tmp_path: Path) -> Path:
    """A folder that is the server's blob container."""
    folder = tmp_path / "container"
    folder.mkdir()
    return folder


@pytest.fixture
async def server(tmp_path: Path, container: Path) -> AsyncIterator[RealServer]:
    server = RealServer(tmp_path, {"MISMO_BLOB_CONTAINER": container.as_uri()})
    await server.start()
    yield server
    await server.end()


def samples(file: Path) -> np.ndarray:
    return soundfile.read(file, dtype="int16")[0]


async def test_generated_files_are_the_servers_own_and_copied(
    server: RealServer, container: Path, tmp_path: Path
) -> None:
    arguments = ["bass", "drums", *OPTIONS, "--out", "out", "--blob-prefix", "albums/42"]
    done = await mismo(server.target, "generate", *arguments, cwd=tmp_path)
    assert done.code == 0, done.err
    assert done.text.splitlines() == ["out/bass.wav", "out/drums.wav"]
    async with AsyncClient(server.target) as client:
        (job,) = [job async for job in client.list()]
    theirs = server.stems(job.job_id)
    assert sorted(theirs) == ["bass", "drums"]
    for name, wanted in theirs.items():
        ours = samples(tmp_path / "out" / f"{name}.wav")
        assert ours.any()
        assert len(ours) == 3 * RATE
        assert np.array_equal(ours, wanted)
        copied = container / "albums" / "42" / "generated" / job.job_id / f"{name}.wav"
        assert np.array_equal(samples(copied), wanted)
    shown = (await mismo(server.target, "jobs", job.job_id, cwd=tmp_path)).text.splitlines()
    assert "track     generated bass, drums" in shown
    assert "asked     90 BPM, 3 s, rock, Am F C G, seed 7" in shown
    assert f"copied to {container.as_uri()}/albums/42/" in shown
    size = (container / "albums" / "42" / "generated" / job.job_id / "bass.wav").stat().st_size
    assert f"blob      generated/{job.job_id}/bass.wav, {size / 1e6:.1f} MB" in shown

    again = await mismo(server.target, "generate", "bass", "drums", *OPTIONS, "--out", "again", cwd=tmp_path)
    assert again.code == 0, again.err
    assert np.array_equal(samples(tmp_path / "again" / "bass.wav"), theirs["bass"]), "the same seed"

    link = await mismo(server.target, "link", job.job_id, f"generated/{job.job_id}/bass.wav", cwd=tmp_path)
    assert link.code == 1
    assert "NO_SIGNED_LINKS" in link.err, "a folder makes no links"


async def test_a_blob_is_separated_and_analysed_by_its_uri(
    server: RealServer, container: Path, tmp_path: Path
) -> None:
    write_music(container / "my song.wav", 6.0)
    uri = f"{container.as_uri()}/my%20song.wav"
    done = await mismo(server.target, "separate", uri, "-o", "out", cwd=tmp_path)
    assert done.code == 0, done.err
    async with AsyncClient(server.target) as client:
        (job,) = [job async for job in client.list()]
    theirs = server.stems(job.job_id)
    for name, wanted in theirs.items():
        assert np.array_equal(samples(tmp_path / "out" / "my song" / f"{name}.wav"), wanted)
    assert {blob.name for blob in job.blobs} >= {f"stems/{name}.wav" for name in theirs}

    found = await mismo(server.target, "analyze", uri, "--stage", "loudness", "--json", "-", cwd=tmp_path)
    assert found.code == 0, found.err
    assert json.loads(found.text)["source"]["blob_uri"] == uri

    missing = await mismo(server.target, "separate", f"{container.as_uri()}/nothing.wav", cwd=tmp_path)
    assert missing.code == 1
    assert "BLOB_NOT_FOUND" in missing.err.splitlines()[-1]
    outside = await mismo(server.target, "separate", "az://elsewhere/song.wav", cwd=tmp_path)
    assert outside.code == 1
    assert "BLOB_URI_FORBIDDEN" in outside.err.splitlines()[-1]
    assert not (tmp_path / "nothing").exists()


async def test_temperature_0_is_the_same_as_none(server: RealServer) -> None:
    async with AsyncClient(server.target) as client:
        unset, zero, one = [
            (await client.generate(["bass"], duration=0.5, validate_only=True, temperature=temperature)).job
            for temperature in (0.0, -0.0, 1.0)
        ]
        with pytest.raises(MismoRpcError, match="temperature"):
            await client.generate(["bass"], temperature=2.5)
    assert unset.options == zero.options == one.options
    assert one.options.generation.temperature == 1.0


@pytest.fixture(scope="module")
def azurite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    server = azurite(tmp_path_factory.mktemp("azurite"))
    server.create("client-results")
    yield server
    server.stop()


async def test_a_link_brings_the_bytes_of_a_stem(azurite_server: Azurite, tmp_path: Path) -> None:
    endpoint = f"http://{azurite_server.address}/{DEVELOPMENT_ACCOUNT}"
    account = f"AccountName={DEVELOPMENT_ACCOUNT};AccountKey={DEVELOPMENT_KEY};BlobEndpoint={endpoint};"
    settings = {"BLOB_CONTAINER_NAME": "client-results", "AZURE_STORAGE_CONNECTION_STRING": account}
    server = RealServer(tmp_path, settings)
    await server.start()

    def generate() -> tuple[str, str]:
        with Client(server.target) as client:
            asked = client.generate(["bass"], duration=0.5, random_seed=1, blob_prefix="links")
            job = client.wait(asked.job.job_id)
            (stem,) = [blob.name for blob in job.blobs if blob.name.endswith(".wav")]
            return job.job_id, stem

    try:
        job_id, stem = await asyncio.to_thread(generate)
        made = await mismo(server.target, "link", job_id, stem, "--expires", "10m", cwd=tmp_path)
        assert made.code == 0, made.err
        assert "expires 20" in made.err

        def download() -> bytes:
            with urllib.request.urlopen(made.text.strip(), timeout=30) as response:
                return response.read()

        content = await asyncio.to_thread(download)
        assert content == (server.jobs / job_id / "stems" / "bass.wav").read_bytes()
    finally:
        await server.end()
