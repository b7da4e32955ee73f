"""Generates songs, analyses and separates them on one server, and compares what comes back with what was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import soundfile
from google.protobuf.duration_pb2 import Duration
from numpy.typing import NDArray

from benchmarks.case import EMBEDDED_MODEL, Bench, Case
from benchmarks.music.scores import beat_scores, chord_scores, key_score
from benchmarks.server import Server
from benchmarks.table import Row
from mismo.analysis.v1 import stage_pb2 as stages
from mismo.analysis.v1.job_pb2 import JOB_STATE_SUCCEEDED, Job, JobOptions, Source
from mismo.analysis.v1.job_service_pb2 import SubmitJobRequest
from mismo.analysis.v1.job_service_pb2_grpc import JobServiceStub
from mismo.analysis.v1.transfer_service_pb2 import ReadStemRequest
from mismo.analysis.v1.transfer_service_pb2_grpc import TransferServiceStub
from mismo_grpc.generation.annotation import key_label
from mismo_grpc.generation.options import TARGET_STEMS, GenerationOptions
from mismo_grpc.generation.songs.writing import truth
from training.quality.metrics import sdr

NAME = "generated_songs"
SONGS, SECONDS = 12, 40
TEMPO, KEY = 120.0, "A minor"
SEPARATED = {
    "vocals": ("vocals",),
    "drums": ("drums",),
    "bass": ("bass",),
    "other": ("guitar", "piano", "synth", "other"),
}
"""The generated stems that each separated stem should contain."""
SCORES = (
    ("tempo", f"tempo within 1 % of {TEMPO:g} BPM", 1.0),
    ("key", "key: mean weighted score", 0.9),
    ("chords", "chords: mean weighted overlap, major and minor", 0.9),
    ("beats", "beats: mean F-measure within 70 ms", 0.9),
)

Audio = NDArray[np.float32]


@dataclass(frozen=True)
class _Song:
    scores: dict[str, float]
    sdr: dict[str, float]


async def run(bench: Bench) -> list[Row]:
    """Makes each song of all stems by the server, and submits their sum as a track."""
    count, seconds = bench.few(SONGS, 2), bench.few(SECONDS, 20)
    songs: list[_Song] = []
    async with (
        bench.server(NAME, model=EMBEDDED_MODEL) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        for seed in range(count):
            songs.append(await _song(bench, server, channel, seed, seconds))
            scores = {**songs[-1].scores, **{f"SDR {k}": v for k, v in songs[-1].sdr.items()}}
            bench.say(f"song {seed}: " + " ".join(f"{name} {value:.2f}" for name, value in scores.items()))
    where = f"{count} songs generated at {TEMPO:g} BPM in {KEY}, {seconds} s, seven stems mixed"
    rows = [_row(f"{where}; {what}", reach, [s.scores[name] for s in songs]) for name, what, reach in SCORES]
    by_stem = {stem: [song.sdr[stem] for song in songs] for stem in SEPARATED}
    means = ", ".join(f"{stem} {np.mean(values):.2f} dB" for stem, values in by_stem.items())
    return [
        *rows,
        Row(
            NAME, f"{where}, separated with {EMBEDDED_MODEL}; mean SDR of each stem", "", means, None, by_stem
        ),
    ]


def _row(what: str, reach: float, values: Sequence[float]) -> Row:
    mean = float(np.mean(values))
    text = f"{mean:.3f} (least {min(values):.2f})"
    return Row(NAME, what, f"≥ {reach:g}", text, mean >= reach, {"scores": list(values)})


async def _song(bench: Bench, server: Server, channel: Any, seed: int, seconds: float) -> _Song:
    options = GenerationOptions(TARGET_STEMS, TEMPO, seconds, key=KEY, random_seed=seed)
    wanted = stages.GenerationOptions(
        target_stems=TARGET_STEMS,
        target_bpm=TEMPO,
        duration=Duration(seconds=int(seconds)),
        key=KEY,
        random_seed=seed,
    )
    job_options = JobOptions(stages=[stages.STAGE_GENERATION], generation=wanted)
    await _done(server, channel, SubmitJobRequest(job_id=f"generated-{seed}", options=job_options))
    made = {stem: await _stem(channel, f"generated-{seed}", stem) for stem in TARGET_STEMS}
    mix: Audio = np.asarray(np.sum(list(made.values()), axis=0, dtype=np.float32))
    track = bench.folder / f"generated-{seed}.wav"
    await asyncio.to_thread(soundfile.write, track, mix, 44_100, subtype="FLOAT")
    asked = [stages.STAGE_STEMS, stages.STAGE_BASIC_FEATURES, stages.STAGE_CHORDS]
    request = SubmitJobRequest(
        job_id=f"track-{seed}", source=Source(path=str(track)), options=JobOptions(stages=asked)
    )
    job = await _done(server, channel, request)
    separated = {stem: await _stem(channel, f"track-{seed}", stem) for stem in SEPARATED}
    sdrs = {
        stem: float(sdr(np.sum([made[part] for part in parts], axis=0).T, separated[stem].T))
        for stem, parts in SEPARATED.items()
    }
    return _Song(_scores(job, options), sdrs)


def _scores(job: Job, options: GenerationOptions) -> dict[str, float]:
    song = truth(options)
    results = {status.stage: status for status in job.stages}
    features = results[stages.STAGE_BASIC_FEATURES].basic_features
    chords = tuple((c.start, c.end, c.label) for c in results[stages.STAGE_CHORDS].chords.chords)
    return {
        "tempo": float(abs(features.tempo - TEMPO) <= 0.01 * TEMPO),
        "key": key_score(key_label(song.key), features.key.name),
        "chords": chord_scores(song.chords, chords)["chord_majmin"],
        "beats": beat_scores(song.beats, tuple(features.beats))["beat_f"],
    }


async def _done(server: Server, channel: Any, request: SubmitJobRequest) -> Job:
    stub: Any = JobServiceStub(channel)
    await stub.SubmitJob(request)
    job = await server.client.wait(request.job_id)
    assert job.state == JOB_STATE_SUCCEEDED, job.error
    return job


async def _stem(channel: Any, job_id: str, stem: str) -> Audio:
    """A whole stem, (frames, 2)."""
    request = ReadStemRequest(job_id=job_id, stem_name=stem)
    stub: Any = TransferServiceStub(channel)
    data = b"".join([message.data async for message in stub.ReadStem(request)])
    return np.frombuffer(data, "<i2").reshape(-1, 2).astype(np.float32) / np.float32(32768)


CASE = Case(NAME, "songs generated, analysed and separated: tempo, key, chords and stems come back", run)
