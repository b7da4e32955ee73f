"""Two tracks beside each other: how well one follows the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from mismo.analysis.v1 import job_pb2
from mismo.analysis.v1.results_pb2 import (
    KEY_RELATION_DISTANT,
    KEY_RELATION_FIFTH_DOWN,
    KEY_RELATION_FIFTH_UP,
    KEY_RELATION_PARALLEL,
    KEY_RELATION_RELATIVE,
    KEY_RELATION_SAME,
    KEY_RELATION_TONE_UP,
    BasicFeaturesResult,
    TrackComparison,
)
from mismo.analysis.v1.stage_pb2 import STAGE_BASIC_FEATURES, STAGE_TRANSITION
from mismo_client.client import AsyncClient
from mismo_client.command.analysis.analysing import Analysing, Analysis, Reporter
from mismo_client.command.analysis.results_table import score_bar
from mismo_client.command.owned_jobs import ENDED_STATES
from mismo_client.command.render import short_track
from mismo_client.command.result_text import error_text, key_text, tempo_text
from mismo_client.command.sources import FileOrBlob, track_source
from mismo_client.errors import ClientError, JobFailedError
from mismo_client.musical_text import difference_text
from mismo_client.results import stage_result
from mismo_client.submits import is_blob_uri
from mismo_client.timecode import format_timecode

RELATIONS = {
    KEY_RELATION_SAME: "the same key",
    KEY_RELATION_RELATIVE: "relative keys, the same notes",
    KEY_RELATION_FIFTH_UP: "a fifth up",
    KEY_RELATION_FIFTH_DOWN: "a fifth down",
    KEY_RELATION_PARALLEL: "the same tonic, other mode",
    KEY_RELATION_TONE_UP: "a whole tone up, raises the energy",
    KEY_RELATION_DISTANT: "distant, the keys clash",
}
STAGES = (STAGE_BASIC_FEATURES, STAGE_TRANSITION)


class NotAnalysedError(ClientError):
    """A job without the results that a comparison needs."""


@dataclass(frozen=True)
class CompareSide:
    """One of the two tracks: its name and its job with the results."""

    name: str
    job: job_pb2.Job


class _Named:
    """Notes with the name of their track: two tracks are analysed at the same time."""

    def __init__(self, name: str, reporter: Reporter) -> None:
        self._name = name
        self._reporter = reporter

    def note(self, text: str) -> None:
        self._reporter.note(f"{self._name}: {text}")

    def uploading(self, done: int, total: int) -> None:
        self._reporter.uploading(done, total)

    def analysing(self, fraction: float, running: str) -> None:
        self._reporter.analysing(fraction, f"{self._name} {running}")


def track_or_job(text: str) -> FileOrBlob | str:
    """A file that is there, or the URI of a blob; anything else is the id of a job."""
    return track_source(text) if is_blob_uri(text) or Path(text).is_file() else text


async def side_of(
    client: AsyncClient, source: FileOrBlob | str, upload: bool, reporter: Reporter
) -> CompareSide:
    """A file or a blob is analysed; the job of an id is waited for.

    Raises NotAnalysedError and what `Analysing` raises.
    """
    if isinstance(source, FileOrBlob):
        named = _Named(source.name, reporter)
        job = await Analysing(client, Analysis(source, STAGES, upload=upload), named).run()
        return _checked(CompareSide(source.name, job))
    job = await client.get(source)
    if job.state not in ENDED_STATES:
        reporter.note(f"waiting for job {job.job_id}")
        job = await client.wait(job.job_id)
    if job.state != job_pb2.JOB_STATE_SUCCEEDED:
        raise JobFailedError(job)
    return _checked(CompareSide(short_track(job), job))


def _checked(side: CompareSide) -> CompareSide:
    if stage_result(side.job, "transition") is not None:
        return side
    job_id = side.job.job_id
    for stage in side.job.stages:
        if stage.stage == STAGE_TRANSITION and stage.HasField("error"):
            raise NotAnalysedError(f"job {job_id} has no cue points: {error_text(stage.error)}")
    raise NotAnalysedError(
        f"job {job_id} has no cue points, its stages lack transition; give the track's file, or analyse it "
        "with `mismo analyze TRACK`"
    )


def comparison_table(first: CompareSide, second: CompareSide, compared: TrackComparison) -> Table:
    """A row for each property, the score with its parts at the end."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    table.add_column(overflow="fold", style="dim")
    for name, value, detail in comparison_rows(first, second, compared):
        table.add_row(Text(name), Text(value), Text(detail))
    return table


def comparison_rows(
    first: CompareSide, second: CompareSide, compared: TrackComparison
) -> Iterator[tuple[str, str, str]]:
    """Name, value, and what follows from it."""
    yield "tracks", f"{first.name} -> {second.name}", ""
    outgoing, incoming = _features(first), _features(second)
    yield "tempo", f"{tempo_text(outgoing)} -> {tempo_text(incoming)}", _tempo_detail(compared)
    yield "key", f"{key_text(outgoing)} -> {key_text(incoming)}", _key_detail(compared)
    if compared.HasField("key_shift") and compared.key_shift:
        unit = "semitone" if abs(compared.key_shift) == 1 else "semitones"
        yield "key shift", f"{difference_text(compared.key_shift, 0)} {unit}", "of the incoming track, to fit"
    if compared.HasField("loudness_difference_lu"):
        difference = compared.loudness_difference_lu
        louder = "the incoming track is louder" if difference > 0 else "the incoming track is quieter"
        yield "loudness", f"{difference_text(difference)} LU", louder if round(difference, 1) else ""
    for place, pair in enumerate(compared.cue_pairs):
        times = f"out {format_timecode(pair.mix_out)} -> in {format_timecode(pair.mix_in)}"
        yield "cue points" if not place else "", f"{times}  {pair.bars} bars", f"score {pair.score:.2f}"
    if not compared.cue_pairs:
        yield "cue points", "no pair fits", ""
    yield "score", score_bar(compared.score), ""
    for name, score in (
        ("tempo", compared.tempo_score),
        ("key", compared.key_score),
        ("energy", compared.energy_score),
        ("cue points", compared.cue_score),
    ):
        yield f"  {name}", score_bar(score), ""


def _features(side: CompareSide) -> BasicFeaturesResult:
    """Without tempo and key if the job has no such result."""
    return stage_result(side.job, "basic_features") or BasicFeaturesResult()


def _tempo_detail(compared: TrackComparison) -> str:
    parts: list[str] = []
    if compared.HasField("tempo_ratio"):
        parts.append(f"ratio {compared.tempo_ratio:.3f}")
    if compared.HasField("incoming_speed"):
        parts.append(f"play the incoming track at {difference_text(100 * (compared.incoming_speed - 1))} %")
    return ", ".join(parts)


def _key_detail(compared: TrackComparison) -> str:
    relation = RELATIONS.get(compared.key_relation, "")
    if relation and compared.HasField("camelot_distance") and compared.camelot_distance:
        steps = "step" if compared.camelot_distance == 1 else "steps"
        relation += f", {compared.camelot_distance} {steps} on the Camelot wheel"
    return relation
