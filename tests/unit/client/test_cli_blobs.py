"""The commands about generated stems and blobs."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import grpc
import pytest

from mismo.analysis.v1 import job_pb2, stage_pb2
from tests.unit.client.command import finish, mismo, start
from tests.unit.client.peer import Peer
from tests.unit.client.peer_status import rich_error
from tests.unit.client.peer_transfer import LINK_TIME

URI = "az://audio-files/album/my%20song.mp3"


async def test_generate_sends_what_was_asked_and_writes_the_stems(peer: Peer, tmp_path: Path) -> None:
    options = ["--bpm", "92.5", "--duration", "1:02.5", "--style", "rock", "--key", "A minor", "--seed", "7"]
    options += ["--chords", "Am | F - C, G", "--prompt", "loud", "--temperature", "0.5"]
    options += ["--generator", "synthetic", "--priority", "high", "--blob-prefix", "albums/42"]
    done = await mismo(peer.target, "generate", "bass,Drums", "piano", *options, "-o", "out", cwd=tmp_path)
    assert done.code == 0, done.err
    (sent,) = peer.submits
    assert sent.options.generation == stage_pb2.GenerationOptions(
        target_stems=["bass", "drums", "piano"],
        target_bpm=92.5,
        duration={"seconds": 62, "nanos": 500_000_000},
        style="rock",
        chord_progression=["Am", "F", "C", "G"],
        key="A minor",
        prompt="loud",
        temperature=0.5,
        random_seed=7,
        generator="synthetic",
    )
    assert (sent.priority, sent.options.blob_upload.prefix) == (job_pb2.PRIORITY_HIGH, "albums/42")
    assert done.text.splitlines() == [f"out/{name}.wav" for name in peer.stems]
    for name, samples in peer.stems.items():
        assert (tmp_path / "out" / f"{name}.wav").read_bytes()[44:] == samples
    assert "--seed" not in done.err


async def test_a_seed_that_is_left_out_is_drawn_and_printed(peer: Peer, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        done = await mismo(peer.target, "generate", "bass", "--out", folder, cwd=tmp_path)
        assert done.code == 0, done.err
        found = re.search(r"--seed (\d+)", done.err)
        assert found is not None
        assert int(found[1]) == peer.submits[-1].options.generation.random_seed
    first, second = (sent.options.generation.random_seed for sent in peer.submits)
    assert first != second


async def test_a_refused_generation_is_one_line_and_leaves_no_folder(peer: Peer, tmp_path: Path) -> None:
    peer.submit_errors.append(rich_error(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "no such stem"))
    done = await mismo(peer.target, "generate", "pony", "--out", "out", cwd=tmp_path)
    assert (done.code, done.err) == (1, "error: no such stem (INVALID_FIELD)\n")
    assert not (tmp_path / "out").exists()


async def test_missing_weights_of_a_generator_are_not_looked_for_among_the_models(
    peer: Peer, tmp_path: Path
) -> None:
    for field, hinted in (("options.generation.generator", False), ("options.stems.model", True)):
        message = f"{field}: its weights are not here"
        peer.submit_errors.append(
            rich_error(grpc.StatusCode.FAILED_PRECONDITION, "MODEL_UNAVAILABLE", message, field=field)
        )
        done = await mismo(peer.target, "generate", "bass", cwd=tmp_path)
        assert done.code == 1
        assert ("mismo models" in done.err) is hinted, done.err


async def test_an_interrupted_generation_cancels_its_job_and_leaves_no_files(
    peer: Peer, tmp_path: Path
) -> None:
    peer.finished, peer.ready_frames = False, 5_000
    process = await start(peer.target, "generate", "bass", "-o", "out", cwd=tmp_path)
    assert process.stderr is not None
    assert b"job job-1" in await process.stderr.readline()
    await peer.held_up.wait()
    process.send_signal(signal.SIGINT)
    done = await finish(process)
    assert done.code == 130
    assert peer.cancelled == ["job-1"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate"], "Missing argument"),
        (["generate", "bass", "--duration", "soon"], "--duration"),
        (["generate", "bass", "--seed", "-1"], "--seed"),
        (["generate", "bass", "--seed", str(2**63)], "--seed"),
        (["generate", "bass", "--bpm", "0"], "--bpm"),
        (["generate", "bass", "--bpm", "240.5"], "--bpm"),
        (["separate", "az://container/"], "names no blob; give one such as az://container/song.mp3"),
        (["separate", "az://container/.."], "names no blob"),
        (["separate", "http://[/song.mp3"], "names no blob"),
        (["separate", URI, "--upload"], "the server reads a blob itself"),
        (["submit", URI, "--upload"], "the server reads a blob itself"),
        (["analyze", URI, "--upload"], "the server reads a blob itself"),
        (["compare", URI, "job-1", "--upload"], "the server reads a blob itself"),
        (["analyze", URI, "--plot", "song.png"], "download the blob first"),
        (["separate", "nothing.wav"], "there is no file 'nothing.wav'"),
        (["separate", "."], "is a folder"),
        (["link", "job-1", "stems/bass.wav", "--expires", "soon"], "is no time such as 90s, 30m, 1h or 7d"),
        (["link", "job-1", "stems/bass.wav", "--expires", "10"], "is no time such as 90s, 30m, 1h or 7d"),
    ],
)
async def test_wrong_usage_says_what_to_give(
    peer: Peer, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = await mismo(peer.target, *arguments, cwd=tmp_path)
    assert done.code == 2
    assert message in " ".join(done.err.split())
    assert not peer.submits
    assert not peer.link_requests


async def test_a_blob_is_separated_by_its_uri(peer: Peer, tmp_path: Path) -> None:
    options = ["-o", "out", "--blob-prefix", "albums/42"]
    done = await mismo(peer.target, "separate", URI, *options, cwd=tmp_path)
    assert done.code == 0, done.err
    (sent,) = peer.submits
    assert (sent.source.blob_uri, sent.options.blob_upload.prefix) == (URI, "albums/42")
    assert done.text.splitlines() == [f"out/my song/{name}.wav" for name in peer.stems]


async def test_a_blob_that_the_server_does_not_read_is_not_uploaded(peer: Peer, tmp_path: Path) -> None:
    peer.submit_errors.append(rich_error(grpc.StatusCode.NOT_FOUND, "SOURCE_NOT_FOUND", "not there"))
    done = await mismo(peer.target, "submit", URI, cwd=tmp_path)
    assert done.code == 1
    assert len(peer.submits) == 1
    assert not peer.uploads


@pytest.mark.parametrize("command", [["submit"], ["analyze", "--stage", "loudness"]])
async def test_other_commands_take_blobs_too(peer: Peer, tmp_path: Path, command: list[str]) -> None:
    done = await mismo(peer.target, *command, URI, "--blob-prefix", "albums/42", cwd=tmp_path)
    assert done.code == 0, done.err
    (sent,) = peer.submits
    assert (sent.source.blob_uri, sent.options.blob_upload.prefix) == (URI, "albums/42")


async def test_jobs_show_blobs_and_what_was_asked(peer: Peer, tmp_path: Path) -> None:
    of_blob, generated = peer.job("a"), peer.job("b")
    of_blob.source.blob_uri = URI
    for name, size in (("stems/bass.wav", 1_764_044), ("analysis/stems.json", 512)):
        of_blob.blobs.add(name=name, uri=f"az://audio-files/albums/42/{name}", total_bytes=size)
    generated.options.stages.append(stage_pb2.STAGE_GENERATION)
    wanted = generated.options.generation
    wanted.target_stems.extend(["bass", "drums"])
    wanted.target_bpm, wanted.random_seed, wanted.key = 92.5, 7, "A minor"
    generated.model = "synthetic"
    peer.jobs = [of_blob, generated]
    listed = (await mismo(peer.target, "jobs", cwd=tmp_path)).text.splitlines()
    assert listed[1].rstrip().endswith("my song.mp3")
    assert listed[2].rstrip().endswith("generated bass, drums")
    shown = (await mismo(peer.target, "jobs", "a", cwd=tmp_path)).text.splitlines()
    assert f"track     {URI}" in shown
    at = shown.index("copied to az://audio-files/albums/42/")
    assert shown[at + 1 : at + 3] == [
        "blob      stems/bass.wav, 1.8 MB",
        "blob      analysis/stems.json, 512 bytes",
    ]
    shown = (await mismo(peer.target, "jobs", "b", cwd=tmp_path)).text.splitlines()
    assert shown[2:5] == [
        "track     generated bass, drums",
        "asked     92.5 BPM, A minor, seed 7",
        "generator synthetic",
    ]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1_800), ("1h", 3_600), ("7d", 604_800), ("1.5h", 5_400)]
)
async def test_a_link_is_printed_with_its_end(peer: Peer, tmp_path: Path, text: str, seconds: int) -> None:
    done = await mismo(peer.target, "link", "job-1", "stems/bass.wav", "--expires", text, cwd=tmp_path)
    assert (done.code, done.text) == (0, "https://blobs.example/stems/bass.wav?sig=1\n"), done.err
    assert done.err.startswith("expires 2023-11-")
    assert peer.link_requests[0].ttl.seconds == seconds


async def test_a_link_for_programs_is_json(peer: Peer, tmp_path: Path) -> None:
    done = await mismo(peer.target, "link", "job-1", "stems/bass.wav", "--json", cwd=tmp_path)
    made = json.loads(done.text)
    assert made["url"] == "https://blobs.example/stems/bass.wav?sig=1"
    assert LINK_TIME == 1_700_000_000
    assert made["expire_time"] == "2023-11-14T23:13:20Z"
