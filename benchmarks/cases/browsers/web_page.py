"""Measures the page in a real Chromium: its weight, the first sound, a long track played whole."""

from __future__ import annotations

import asyncio
import statistics
from pathlib import Path

import soundfile

from benchmarks.case import EMBEDDED_MODEL, Bench, Case
from benchmarks.table import Row

NAME, PLAYING_NAME = "web_page", "web_playing"
TRACK_SECONDS = 210.0
MP3_LEVEL = 0.4
"""libsndfile's compression level for 192 kbit/s: a track of 210 s has 5 MB."""
WEIGHT_REACH_KB = 300
MEMORY_REACH_MB = 600
SETTLE_SECONDS = 1.0
BLOCK_FRAMES = 1 << 18


async def run(bench: Bench) -> list[Row]:
    """Loads the page in a new browser for each trial and chooses a new file of 5 MB, with each of two models."""
    from benchmarks.cases.browsers.tab import open_tab

    rows: list[Row] = []
    weight, size = 0, 0.0
    for model in dict.fromkeys((EMBEDDED_MODEL, bench.model)):
        firsts: list[float] = []
        async with bench.server(f"{NAME}-{model}", model=model) as server:
            for number in range(bench.few(5, 1)):
                # Another track each time: the result of the same one would be used again.
                track = _mp3(bench, TRACK_SECONDS + number)
                size = track.stat().st_size / 1e6
                async with open_tab(server.http) as tab:
                    await asyncio.sleep(SETTLE_SECONDS)
                    weight = max(weight, tab.loaded_bytes)
                    await tab.choose(track)
                    firsts.append((await tab.first_sound()).first_seconds)
                    bench.say(f"{model}: first sound after {firsts[-1]:.2f} s")
                async for job in server.client.list():
                    await server.client.cancel(job.job_id)
            forward = await server.forward_seconds()
        rows.append(
            Row(
                NAME,
                f"from the choice of an mp3 of {size:.1f} MB to the first sound, {model}",
                "as measured",
                f"{statistics.median(firsts):.2f} s, at worst {max(firsts):.2f} s of {len(firsts)}; "
                f"a segment's forward takes {forward:.2f} s",
                met=True,
                figures={"seconds": firsts, "forward_seconds": forward},
            )
        )
    return [
        *rows,
        Row(
            NAME,
            "all that the page loads, compressed",
            f"≤ {WEIGHT_REACH_KB} kB",
            f"{weight / 1e3:.0f} kB",
            met=0 < weight <= WEIGHT_REACH_KB * 1000,
            figures={"bytes": weight},
        ),
    ]


async def run_playing(bench: Bench) -> list[Row]:
    """Plays a track of 10 minutes from the choice of the file to its end while it is separated."""
    from benchmarks.cases.browsers.tab import open_tab

    seconds = bench.few(600, 60)
    track = bench.tracks.wav(seconds)
    most = 0
    async with bench.server(PLAYING_NAME, model=EMBEDDED_MODEL) as server, open_tab(server.http) as tab:
        await tab.choose(track)
        first = await tab.first_sound()
        while True:
            most = max(most, await tab.memory_bytes())
            heard = await tab.heard()
            state = await tab.page.get_by_test_id("track").get_attribute("data-player")
            if state in ("ended", "failed") or heard.frames > (seconds + 60) * 44_100:
                break
            await asyncio.sleep(1.0)
        job = await anext(server.client.list())
        took = (job.end_time.ToNanoseconds() - job.start_time.ToNanoseconds()) / 1e9
    played = heard.frames / 44_100
    return [
        Row(
            PLAYING_NAME,
            f"a track of {seconds / 60:g} minutes, four stems, played while {EMBEDDED_MODEL} separates it "
            f"at {seconds / took:.1f} x real time",
            "no gap",
            f"{len(heard.gaps)} gaps in {played:.0f} s; first sound after {first.first_seconds:.2f} s; {state}",
            met=not heard.gaps and state == "ended" and played >= seconds - 1,
            figures={"gaps": len(heard.gaps), "played_seconds": played, "job_seconds": took},
        ),
        Row(
            PLAYING_NAME,
            "memory of the tab meanwhile (its process alone)",
            f"≤ {MEMORY_REACH_MB} MB",
            f"at most {most / 1e6:.0f} MB",
            met=most <= MEMORY_REACH_MB * 1_000_000,
            figures={"bytes": most},
        ),
    ]


def _mp3(bench: Bench, seconds: float) -> Path:
    """An mp3 of 192 kbit/s of that length."""
    path = bench.folder / f"track-{seconds:g}s.mp3"
    with (
        soundfile.SoundFile(bench.tracks.wav(seconds)) as source,
        soundfile.SoundFile(
            path,
            "w",
            source.samplerate,
            2,
            format="MP3",
            bitrate_mode="CONSTANT",
            compression_level=MP3_LEVEL,
        ) as target,
    ):
        for block in source.blocks(BLOCK_FRAMES, dtype="float32"):
            target.write(block)
    return path


CASE = Case(NAME, "the page in Chromium: its weight, and the first sound after a file is chosen", run)
PLAYING_CASE = Case(
    PLAYING_NAME,
    "a track of 10 minutes played whole in Chromium while it is separated",
    run_playing,
    limit_seconds=1200.0,
)
