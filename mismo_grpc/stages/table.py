"""All stages of the contract and their dependencies."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from mismo_grpc.errors import InvalidFieldError
from mismo_grpc.jobs.job import Job, Stage, StageState
from mismo_grpc.jobs.stage_data import RESULT_TYPES, STEM_STAGES

FIELD = "options.stages"


@dataclass(frozen=True)
class StageRow:
    """One stage: the stages that it needs, and the stages that are added with it.

    Of the stages in `needs_one` it needs the one that the job has; without any, the first is added.
    If stages of `after` are part of the job, it begins when they have ended, and uses their results if they have one.
    `share` is its relative share of a job's work. The result of a stage is durable unless it is a work file: work files
    do not survive every restart, so the stage then runs again for the stages that need it.
    """

    stage: Stage
    needs: tuple[Stage, ...] = ()
    needs_one: tuple[Stage, ...] = ()
    brings: tuple[Stage, ...] = ()
    after: tuple[Stage, ...] = ()
    share: float = 1.0
    durable: bool = True

    def needs_among(self, stages: Collection[Stage]) -> tuple[Stage, ...]:
        """The stages that it needs in a job that has these stages."""
        return (*self.needs, *(stage for stage in self.needs_one if stage in stages))


TABLE: tuple[StageRow, ...] = (
    StageRow(Stage.DECODE, share=2.0, durable=False),
    StageRow(Stage.STEMS, needs=(Stage.DECODE,), brings=(Stage.WAVEFORMS,), share=100.0),
    StageRow(Stage.GENERATION, brings=(Stage.WAVEFORMS,), share=100.0),
    StageRow(Stage.WAVEFORMS, needs_one=STEM_STAGES),
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
    StageRow(Stage.EXPORT, needs_one=STEM_STAGES, share=8.0),
    StageRow(Stage.ANNOTATION, after=(Stage.BASIC_FEATURES, Stage.SECTIONS, Stage.CHORDS), share=0.1),
    StageRow(
        Stage.BLOB_UPLOAD,
        after=(
            Stage.STEMS,
            Stage.GENERATION,
            Stage.WAVEFORMS,
            *(stage for stage in RESULT_TYPES),
            Stage.EXPORT,
            Stage.ANNOTATION,
        ),
        share=5.0,
    ),
)
"""In the order in which jobs list their stages: a stage comes after the stages that it needs."""

ROWS = {row.stage: row for row in TABLE}


def check_asked(stages: Iterable[Stage]) -> None:
    """Raises InvalidFieldError unless the stages can be those of one job.

    One that has a result of its own must be asked for, and one that can be annotated if the annotation is. Generated
    stems have no source, so they exclude all stages that need one.
    """
    asked = tuple(stages)
    if not set(asked) - _WITHOUT_RESULT:
        raise InvalidFieldError(
            f"{FIELD}: {', '.join(f'STAGE_{stage.name}' for stage in _WITHOUT_RESULT)} have no result of their own; "
            "ask also for a stage such as STAGE_STEMS or STAGE_BASIC_FEATURES",
            field=FIELD,
        )
    if Stage.GENERATION in asked and set(asked) - _WITH_GENERATION:
        raise InvalidFieldError(
            f"{FIELD}: STAGE_GENERATION makes stems without a source, so its job has no other stages; submit the "
            "generated stems as a track of another job to analyse them",
            field=FIELD,
        )
    if Stage.ANNOTATION in asked and not set(with_needs(asked)).intersection(ROWS[Stage.ANNOTATION].after):
        raise InvalidFieldError(
            f"{FIELD}: STAGE_ANNOTATION annotates what STAGE_BASIC_FEATURES, STAGE_SECTIONS and STAGE_CHORDS find; ask "
            "for one of them, too",
            field=FIELD,
        )


_WITHOUT_RESULT = dict.fromkeys((Stage.DECODE, Stage.ANNOTATION, Stage.BLOB_UPLOAD)).keys()
_WITH_GENERATION = frozenset({Stage.GENERATION, Stage.WAVEFORMS, Stage.EXPORT, Stage.BLOB_UPLOAD})


def with_needs(stages: Iterable[Stage]) -> tuple[Stage, ...]:
    """The stages with those that they need and those that are added with them, in the order of the table."""
    found: set[Stage] = set()
    pending = set(stages)
    while pending:
        found |= pending
        rows = [ROWS[stage] for stage in found]
        pending = {other for row in rows for other in (*row.needs, *row.brings)} - found
        # Only once it is clear which of them the job has anyhow.
        pending = pending or {
            row.needs_one[0] for row in rows if row.needs_one and found.isdisjoint(row.needs_one)
        }
    return tuple(row.stage for row in TABLE if row.stage in found)


def needed_by(stages: Iterable[Stage]) -> frozenset[Stage]:
    """The stages and those that they need, also indirectly, without the ones that are only added with them."""
    asked = frozenset(stages)
    needed = asked.union(*(ROWS[stage].needs_among(with_needs(asked)) for stage in asked))
    return asked if needed == asked else needed_by(needed)


def stages_to_run(job: Job) -> frozenset[Stage]:
    """The stages to run: those that have not ended, and the ones whose work files they need again."""
    has = {s.stage for s in job.stages}
    missing = {s.stage for s in job.stages if not s.state.ended and ROWS[s.stage].durable}
    for row in reversed(TABLE):
        if row.stage in missing:
            missing |= {need for need in row.needs_among(has) if _is_gone(job, need)}
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
        elif status.stage in STEM_STAGES and status.state is StageState.RUNNING:
            done += row.share * segments_share
    return done / total if total else 0.0
