"""All stages of the contract: what each needs, and which are offered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mismo_grpc.errors import InvalidFieldError, NotSupportedYetError
from mismo_grpc.jobs.job import Job, Stage, StageState

FIELD = "options.stages"


@dataclass(frozen=True)
class StageRow:
    """One stage: the stages that it needs, and those that come with it.

    `share` is how much of a job's work it is, in comparison with the others. `reason` says why it is not offered; "":
    it is. What a stage leaves is durable unless it lies among the work files: these do not survive every restart, and
    the stage is run again for those that need it.
    """

    stage: Stage
    needs: tuple[Stage, ...] = ()
    brings: tuple[Stage, ...] = ()
    share: float = 1.0
    durable: bool = True
    reason: str = ""

    @property
    def offered(self) -> bool:
        """Whether jobs may ask for it."""
        return not self.reason


_NOT_YET = "not served yet; leave it out"

TABLE: tuple[StageRow, ...] = (
    StageRow(Stage.DECODE, share=2.0, durable=False),
    StageRow(Stage.STEMS, needs=(Stage.DECODE,), brings=(Stage.WAVEFORMS,), share=100.0),
    StageRow(Stage.WAVEFORMS, needs=(Stage.STEMS,)),
    StageRow(Stage.LOUDNESS, needs=(Stage.DECODE,)),
    StageRow(Stage.BASIC_FEATURES, needs=(Stage.DECODE,), reason=_NOT_YET),
    StageRow(Stage.CHARACTERISTICS, needs=(Stage.DECODE,), reason=_NOT_YET),
    StageRow(Stage.GENRE, needs=(Stage.DECODE,), reason=_NOT_YET),
    StageRow(Stage.SECTIONS, needs=(Stage.DECODE,), reason=_NOT_YET),
    StageRow(Stage.CHORDS, needs=(Stage.DECODE,), reason=_NOT_YET),
    StageRow(Stage.TRANSITION, needs=(Stage.DECODE,), reason=_NOT_YET),
    StageRow(Stage.GENERATION, reason=_NOT_YET),
)
"""In the order in which jobs list their stages: a stage comes after those that it needs."""

ROWS = {row.stage: row for row in TABLE}


def check_asked(stages: Iterable[Stage]) -> None:
    """Raises NotSupportedYetError for a stage that is not offered, InvalidFieldError if nothing is asked for."""
    asked = tuple(stages)
    for stage in asked:
        if not ROWS[stage].offered:
            raise NotSupportedYetError(
                f"{FIELD}: STAGE_{stage.name} is not offered by this server; ListStages tells which are",
                field=FIELD,
            )
    if not set(asked) - {Stage.DECODE}:
        raise InvalidFieldError(
            f"{FIELD}: STAGE_DECODE alone has no result; ask for a stage that needs it, such as STAGE_STEMS",
            field=FIELD,
        )


def with_needs(stages: Iterable[Stage]) -> tuple[Stage, ...]:
    """The stages with all that they need and bring, in the order of the table."""
    found: set[Stage] = set()
    pending = list(stages)
    while pending:
        stage = pending.pop()
        if stage not in found:
            found.add(stage)
            pending += (*ROWS[stage].needs, *ROWS[stage].brings)
    return tuple(row.stage for row in TABLE if row.stage in found)


def stages_to_run(job: Job) -> frozenset[Stage]:
    """What is missing of a job: its stages that have not ended, and the work that these need again."""
    missing = {s.stage for s in job.stages if not s.state.ended and ROWS[s.stage].durable}
    for row in reversed(TABLE):
        if row.stage in missing:
            missing |= {need for need in row.needs if _is_gone(job, need)}
    return frozenset(missing)


def _is_gone(job: Job, stage: Stage) -> bool:
    """Whether a stage that is needed has no result that is still there."""
    if not job.has_ended(stage):
        return True
    return job.has_result_of(stage) and not ROWS[stage].durable


def fraction_done(job: Job, segments_share: float) -> float:
    """How much of a job is done, 0 to 1; `segments_share` is that of the stems.

    A stage that ended without a result has nothing left to do.
    """
    done = total = 0.0
    for status in job.stages:
        row = ROWS[status.stage]
        total += row.share
        if status.state.ended:
            done += row.share
        elif status.stage is Stage.STEMS and status.state is StageState.RUNNING:
            done += row.share * segments_share
    return done / total if total else 0.0
