"""Measures the time from submit until a player has audio of all stems, for several playheads."""

from __future__ import annotations

from benchmarks.case import Bench, Case
from benchmarks.limits import SLACK_SECONDS, ForwardLimit, Trial
from benchmarks.playing import measure_forward, playing
from benchmarks.table import Row

# Limits as multiples of one segment's forward pass.
ONE_SEGMENT, TWO_SEGMENTS = 1.3, 2.3
NAME = "first_audio"


async def run(bench: Bench) -> list[Row]:
    """Tries playheads at the start, in the middle of a stride, and where two segments overlap; each several times."""
    track = bench.tracks.wav(bench.few(180, 60))
    short = bench.tracks.wav(3)
    one: list[Trial] = []
    two: list[Trial] = []
    rounds = bench.few(5, 2)
    async with bench.server(NAME) as server:
        segment_frames = (await server.model_info()).segment_frames
        stride = segment_frames * 3 // 4
        last = (bench.few(180, 60) * 44_100) // stride - 2
        before = await measure_forward(server, short)
        for number in range(rounds):
            place = last * (number + 1) // rounds * stride
            for trials, frame in (
                (one, 0),
                (one, place + segment_frames // 2),
                (two, place + segment_frames // 20),
            ):
                async with playing(server, track, frame) as heard:
                    pass
                after = await measure_forward(server, short)
                trials.append(Trial(heard.seconds, (before + after) / 2))
                before = after
                bench.say(f"playhead {frame / 44_100:6.1f} s: {heard.seconds:.2f} s, forward {after:.2f} s")
    return [
        _row("playhead in one segment", ForwardLimit(ONE_SEGMENT, one)),
        _row("playhead where two segments overlap", ForwardLimit(TWO_SEGMENTS, two)),
    ]


def _row(where: str, limit: ForwardLimit) -> Row:
    return Row(
        NAME,
        f"time to first audio at a client, warm model, {where}: submit → first chunk of all stems",
        f"≤ {limit.forwards} × one segment's forward + {SLACK_SECONDS} s",
        limit.measured,
        met=limit.met,
        figures=limit.figures,
    )


CASE = Case(NAME, "submit to first audio, at playheads that need one segment and two", run)
