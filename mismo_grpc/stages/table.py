"""All stages of the contract: their dependencies, and which of them this server offers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mismo_grpc.errors import InvalidFieldError, NotSupportedYetError
from mismo_grpc.jobs.job import Job, Stage, StageState

FIELD = "options.stages"


@dataclass(frozen=True)
class StageRow:
    """One stage: the stages that it needs, and the stages that are added with it.

    If stages of `after` are part of the job, it begins when they have ended, and uses their results if they have one.
    `share` is its relative share of a job's work. `reason` says why it is not offered, "" if it is offered. The result
    of a stage is durable unless it is a work file: work files do not survive every restart, so the stage then runs
    again for the stages that need it.
    """

    stage: Stage
    needs: tuple[Stage, ...] = ()
    brings: tuple[Stage, ...] = ()
    after: tuple[Stage, ...] = ()
    share: float = 1.0
    durable: bool = True
    reason: str = ""

    @property
    def offered(self) -> bool:
        """Whether jobs may request it."""
        return not self.reason


_NOT_YET = "not served yet; leave it out"

TABLE: tuple[StageRow, ...] = (
    StageRow(Stage.DECODE, share=2.0, durable=False),
    StageRow(Stage.STEMS, needs=(Stage.DECODE,), brings=(Stage.WAVEFORMS,), share=100.0),
    StageRow(Stage.WAVEFORMS, needs=(Stage.STEMS,)),
    StageRow(Stage.LOUDNESS, needs=(Stage.DECODE,)),
    StageRow(Stage.BASIC_FEATURES, needs=(Stage.DECODE,), brings=(Stage.ANNOTATION,), share=4.0),
    StageRow(Stage.CHARACTERISTICS, needs=(Stage.DECODE,), after=(Stage.STEMS,), share=2.0),
    StageRow(Stage.GENRE, needs=(Stage.DECODE,), share=3.0),
    StageRow(
        Stage.SECTIONS, needs=(Stage.DECODE, Stage.BASIC_FEATURES), brings=(Stage.ANNOTATION,), share=2.0
    ),
    StageRow(
        Stage.CHORDS,
        needs=(Stage.DECODE, Stage.BASIC_FEATURES),
        brings=(Stage.ANNOTATION,),
        after=(Stage.STEMS,),
        share=2.0,
    ),
    StageRow(Stage.TRANSITION, needs=(Stage.DECODE, Stage.BASIC_FEATURES, Stage.SECTIONS), share=2.0),
    StageRow(Stage.ANNOTATION, after=(Stage.BASIC_FEATURES, Stage.SECTIONS, Stage.CHORDS), share=0.1),
    StageRow(Stage.GENERATION, reason=_NOT_YET),
    StageRow(Stage.BLOB_UPLOAD, reason=_NOT_YET),
)
"""In the order in which jobs list their stages: a stage comes after the stages that it needs."""

ROWS = {row.stage: row for row in TABLE}


def check_asked(stages: Iterable[Stage]) -> None:
    """Raises NotSupportedYetError for a stage that is not offered, InvalidFieldError if a result is missing.

    One that has a result of its own must be asked for, and one that can be annotated if the annotation is.
    """
    asked = tuple(stages)
    for stage in asked:
        if not ROWS[stage].offered:
            raise NotSupportedYetError(
                f"{FIELD}: STAGE_{stage.name} is not offered by this server; ListStages tells which are",
                field=FIELD,
            )
    if not set(asked) - {Stage.DECODE, Stage.ANNOTATION}:
        raise InvalidFieldError(
            f"{FIELD}: STAGE_DECODE and STAGE_ANNOTATION have no result of their own; ask also for a stage such as "
            "STAGE_STEMS or STAGE_BASIC_FEATURES",
            field=FIELD,
        )
    if Stage.ANNOTATION in asked and not set(with_needs(asked)).intersection(ROWS[Stage.ANNOTATION].after):
        raise InvalidFieldError(
            f"{FIELD}: STAGE_ANNOTATION annotates what STAGE_BASIC_FEATURES, STAGE_SECTIONS and STAGE_CHORDS find; ask "
            "for one of them, too",
            field=FIELD,
        )


def with_needs(stages: Iterable[Stage]) -> tuple[Stage, ...]:
    """The stages with those that they need and those that are added with them, in the order of the table."""
    found: set[Stage] = set()
    pending = list(stages)
    while pending:
        stage = pending.pop()
        if stage not in found:
            found.add(stage)
            pending += (*ROWS[stage].needs, *ROWS[stage].brings)
    return tuple(row.stage for row in TABLE if row.stage in found)


def needed_by(stages: Iterable[Stage]) -> frozenset[Stage]:
    """The stages and those that they need, also indirectly, without the ones that are only added with them."""
    asked = frozenset(stages)
    needed = asked.union(*(ROWS[stage].needs for stage in asked))
    return asked if needed == asked else needed_by(needed)


def stages_to_run(job: Job) -> frozenset[Stage]:
    """The stages to run: those that have not ended, and the ones whose work files they need again."""
    missing = {s.stage for s in job.stages if not s.state.ended and ROWS[s.stage].durable}
    for row in reversed(TABLE):
        if row.stage in missing:
            missing |= {need for need in row.needs if _is_gone(job, need)}
    return frozenset(missing)


def _is_gone(job: Job, stage: Stage) -> bool:
    """Whether a needed stage must run: it has not ended, or its result is a work file that may be lost."""
    if not job.has_ended(stage):
        return True
    return job.has_result_of(stage) and not ROWS[stage].durable


def fraction_done(job: Job, segments_share: float) -> float:
    """The completed share of a job's work, 0 to 1; `segments_share` is the completed share of the stems.

    A stage that ended without a result counts as complete.
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
