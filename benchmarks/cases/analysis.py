"""Measures how well the analyses find what composed and real songs have, beside librosa, and what that costs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.case import Bench, Case
from benchmarks.music import ours, peer
from benchmarks.music.estimate import Estimate
from benchmarks.music.ours import estimate_all, estimate_basic
from benchmarks.music.peer import estimate_peer
from benchmarks.music.scores import composed_scores, key_score, mean, within
from benchmarks.music.songs import ComposedSong, RealSong, plans, real_songs, render_song
from benchmarks.table import Row
from mismo_grpc.analysis.mix import MixFile
from mismo_grpc.analysis.pool import AnalysisPool

NAME = "analysis"
SONGS, SECONDS = 24, 90.0
REAL_SONGS = 6
REAL_TOLERANCE = 0.01
REAL_KEY = 0.5
REAL_TIME_SHARE = 0.15
LIMIT_SECONDS = 600.0
WARM_SECONDS = 20
NEEDED = ("mir_eval", "librosa")


@dataclass(frozen=True)
class Measure:
    """A score of composed songs; `reach` is None if nothing is promised."""

    name: str
    what: str
    reach: float | None = None


MEASURES = (
    Measure("beat_f", "beats: F-measure within 70 ms", 0.95),
    Measure("cmlt", "beats: share in unbroken runs at the right metrical level (CMLt)"),
    Measure("amlt", "beats: share in unbroken runs at any metrical level (AMLt)"),
    Measure("tempo_1", "tempo within 4 % (accuracy 1)", 0.9),
    Measure("tempo_2", "tempo within 4 %, octave errors allowed (accuracy 2)"),
    Measure("downbeat_f", "downbeats: F-measure within 70 ms"),
    Measure("metre", "beats in a bar, 3 or 4: share that is right"),
    Measure("key", "key: weighted score", 0.8),
    Measure("chord_majmin", "chords: weighted overlap, major and minor", 0.7),
    Measure("chord_sevenths", "chords: weighted overlap, with sevenths"),
    Measure("boundary_3", "section boundaries: F of hits within 3 s", 0.7),
    Measure("boundary_0.5", "section boundaries: F of hits within 0.5 s"),
    Measure("inner_3", "the same without beginning and end of the song, within 3 s"),
    Measure("inner_0.5", "the same without beginning and end of the song, within 0.5 s"),
)


@dataclass(frozen=True)
class Found:
    """The estimates of one song, of this project and of the peer."""

    ours: Estimate
    peer: Estimate


async def run(bench: Bench) -> list[Row]:
    """Renders songs, analyses them in two workers (this project's and librosa's analyses), and compares the scores."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f"this case needs {' and '.join(missing)}: `make dev` installs them")
    composed = await _rendered(bench)
    bench.say(f"{len(composed)} songs composed and rendered")
    real = await asyncio.to_thread(_real, bench)
    bench.say(f"{len(real)} real songs" if real else f"no real songs in {bench.music.real}: left out")
    found, found_real = await _analysed(bench, composed, real)
    rows = _composed_rows(bench, composed, found)
    if real:
        rows += _real_rows(real, found_real)
    return [*rows, *_cost_rows(composed, found)]


async def _rendered(bench: Bench) -> list[ComposedSong]:
    options = bench.music
    count = options.songs or bench.few(SONGS, 3)
    seconds = options.seconds or float(bench.few(int(SECONDS), 40))
    pool = AnalysisPool(2, niceness=0)
    try:
        return await asyncio.gather(
            *(
                pool.run(render_song, plan, bench.folder, options.fonts, timeout_seconds=LIMIT_SECONDS)
                for plan in plans(count, seconds, options.first_seed)
            )
        )
    finally:
        await pool.close(0)


def _real(bench: Bench) -> list[RealSong]:
    count = bench.few(REAL_SONGS, 1)
    return real_songs(bench.music.real, bench.folder, count, 60.0 if bench.quick else None)


async def _analysed(
    bench: Bench, composed: Sequence[ComposedSong], real: Sequence[RealSong]
) -> tuple[list[Found], list[Found]]:
    """Each of the two workers analyses one song after the other, so that each has a core."""
    pools = [AnalysisPool(1, modules=modules, niceness=0) for modules in (ours.MODULES, peer.MODULES)]

    async def by_us() -> list[Estimate]:
        estimates: list[Estimate] = []
        for song in composed:
            estimates.append(await pools[0].run(estimate_all, song.mix, timeout_seconds=LIMIT_SECONDS))
        for song in real:
            estimates.append(await pools[0].run(estimate_basic, song.mix, timeout_seconds=LIMIT_SECONDS))
        bench.say("analysed by this project")
        return estimates

    async def by_peer() -> list[Estimate]:
        estimates: list[Estimate] = []
        tasks: list[tuple[MixFile, int | None]] = [(s.mix, len(s.truth.sections)) for s in composed]
        for mix, sections in [*tasks, *((song.mix, None) for song in real)]:
            estimates.append(await pools[1].run(estimate_peer, mix, sections, timeout_seconds=LIMIT_SECONDS))
        bench.say("analysed by librosa")
        return estimates

    first = composed[0].mix
    beginning = await asyncio.to_thread(_beginning, first, bench.folder / "beginning.f32")
    try:
        # The first calls compile and load models; that is no time of a stage.
        await asyncio.gather(
            pools[0].run(estimate_all, beginning, timeout_seconds=LIMIT_SECONDS),
            pools[1].run(estimate_peer, beginning, 2, timeout_seconds=LIMIT_SECONDS),
        )
        pairs = [Found(*pair) for pair in zip(*await asyncio.gather(by_us(), by_peer()), strict=True)]
    finally:
        await asyncio.gather(*(pool.close(0) for pool in pools))
    return pairs[: len(composed)], pairs[len(composed) :]


def _beginning(mix: MixFile, path: Path) -> MixFile:
    """The first seconds of a mix."""
    samples = mix.samples()[: WARM_SECONDS * mix.sample_rate]
    samples.tofile(path)
    return MixFile(path, len(samples), mix.channels, mix.sample_rate)


def _composed_rows(bench: Bench, songs: Sequence[ComposedSong], found: Sequence[Found]) -> list[Row]:
    scores = [composed_scores(song, pair.ours) for song, pair in zip(songs, found, strict=True)]
    theirs = [composed_scores(song, pair.peer) for song, pair in zip(songs, found, strict=True)]
    for song, one, other in zip(songs, scores, theirs, strict=True):
        bench.say(f"{_title(song)}: {_brief(one)} | librosa {_brief(other)}")
    voices = "sound fonts" if bench.music.fonts else "own voices"
    where = f"{len(songs)} composed songs of {songs[0].plan.seconds:g} s ({voices})"
    return [
        _score_row(
            f"{measure.what}; mean of {where}",
            measure.reach,
            [score[measure.name] for score in scores if measure.name in score],
            [score[measure.name] for score in theirs if measure.name in score],
        )
        for measure in MEASURES
    ]


def _real_rows(songs: Sequence[RealSong], found: Sequence[Found]) -> list[Row]:
    def hits(estimates: Sequence[Estimate], *, octaves: bool) -> int:
        return sum(
            e.tempo is not None and within(e.tempo, song.tempo, REAL_TOLERANCE, octaves=octaves)
            for song, e in zip(songs, estimates, strict=True)
        )

    mine, theirs = [pair.ours for pair in found], [pair.peer for pair in found]
    lenient = mean(
        [key_score(s.key, e.key or "", either_fifth=True) for s, e in zip(songs, mine, strict=True)]
    )
    exact, octaves = hits(mine, octaves=False), hits(mine, octaves=True)
    tempi = ", ".join(
        f"{song.name} {'none' if e.tempo is None else f'{e.tempo:.1f}'} ({song.tempo:g})"
        for song, e in zip(songs, mine, strict=True)
    )
    keys = ", ".join(f"{song.name} {e.key} ({song.key})" for song, e in zip(songs, mine, strict=True))
    return [
        Row(
            NAME,
            f"tempo of {len(songs)} real songs within {REAL_TOLERANCE:.0%} of the published one, octave errors apart",
            "all",
            f"{exact} of {len(songs)}, and {octaves - exact} at half or double ({tempi}); librosa "
            f"{hits(theirs, octaves=False)}, and {hits(theirs, octaves=True) - hits(theirs, octaves=False)}",
            met=octaves == len(songs),
            figures={
                "published": [song.tempo for song in songs],
                "ours": [e.tempo or 0.0 for e in mine],
                "librosa": [e.tempo or 0.0 for e in theirs],
            },
        ),
        _score_row(
            f"key of {len(songs)} real songs against the published one: mean weighted score ({keys}; "
            f"{lenient:.3f} if a fifth below counts like one above)",
            REAL_KEY,
            [key_score(s.key, e.key) for s, e in zip(songs, mine, strict=True) if e.key is not None],
            [key_score(s.key, e.key) for s, e in zip(songs, theirs, strict=True) if e.key is not None],
            above_peer=False,
        ),
    ]


def _score_row(
    what: str,
    reach: float | None,
    scores: Sequence[float],
    theirs: Sequence[float],
    *,
    above_peer: bool = True,
) -> Row:
    mine, other = mean(scores), mean(theirs)
    text = "not measured: there is no such analysis" if mine is None else f"{mine:.3f}"
    if other is None:
        text += "; librosa has none"
    elif mine is None:
        text += f"; librosa {other:.3f}"
    else:
        text += f"; librosa {other:.3f}, difference {mine - other:+.3f}"
    met = None
    wanted = ""
    if reach is not None:
        wanted = f"≥ {reach:g}" + (", above librosa" if above_peer and other is not None else "")
        met = (
            mine is not None
            and mine >= reach
            and (not above_peer or other is None or mine > other or mine == 1)
        )
    return Row(NAME, what, wanted, text, met=met, figures={"ours": list(scores), "librosa": list(theirs)})


def _cost_rows(songs: Sequence[ComposedSong], found: Sequence[Found]) -> list[Row]:
    minutes = sum(song.mix.frames / song.mix.sample_rate for song in songs) / 60
    by_us, by_peer = [pair.ours for pair in found], [pair.peer for pair in found]
    mine, theirs = _by_stage(by_us, minutes), _by_stage(by_peer, minutes)
    total, other = sum(mine.values()), sum(theirs.values())
    ratio = f"{total / other:.2f} × librosa's {other:.2f} s ({_stages(theirs)})"
    memory, their_memory = (max(e.peak_rss for e in estimates) for estimates in (by_us, by_peer))
    trackers = ", ".join(sorted({e.beat_tracker for e in by_us} - {""}))
    return [
        Row(
            NAME,
            "all analyses one after the other, in a worker with one thread: seconds a minute of audio"
            + (f" (beats by {trackers})" if trackers else ""),
            f"≤ {REAL_TIME_SHARE * 60:g} s",
            f"{total:.2f} s ({_stages(mine)}); {ratio}",
            met=total <= REAL_TIME_SHARE * 60,
            figures={**mine, "librosa": other},
        ),
        Row(
            NAME,
            f"peak memory (VmHWM) of that worker on songs of {songs[0].plan.seconds:g} s",
            "",
            f"{memory / 1e6:.0f} MB; librosa {their_memory / 1e6:.0f} MB",
            met=None,
            figures={"ours_bytes": memory, "librosa_bytes": their_memory},
        ),
    ]


def _by_stage(estimates: Sequence[Estimate], minutes: float) -> dict[str, float]:
    """Seconds a minute of audio, by stage."""
    stages = list(dict.fromkeys(stage for estimate in estimates for stage in estimate.seconds))
    return {stage: sum(e.seconds.get(stage, 0.0) for e in estimates) / minutes for stage in stages}


def _stages(seconds: dict[str, float]) -> str:
    return ", ".join(f"{stage} {value:.2f}" for stage, value in seconds.items())


def _title(song: ComposedSong) -> str:
    plan = song.plan
    tempo = f"{plan.tempo:g}" + (f" to {plan.tempo_end:g}" if plan.tempo_end else "")
    return f"{plan.seed} {plan.key} {tempo} {plan.beats_per_bar}/4"


def _brief(scores: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.2f}" for name, value in scores.items()) or "nothing"


CASE = Case(
    NAME, "beats, key, chords and sections beside librosa, and what they cost", run, limit_seconds=2400.0
)
