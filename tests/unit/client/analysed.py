"""A job of the peer with the results of all analyses: a track of 120 BPM in F sharp minor."""

from __future__ import annotations

from mismo.analysis.v1 import job_pb2, results_pb2, stage_pb2

BEAT = 0.5
BAR = 4 * BEAT
ANALYSES = [
    stage_pb2.STAGE_BASIC_FEATURES,
    stage_pb2.STAGE_CHARACTERISTICS,
    stage_pb2.STAGE_SECTIONS,
    stage_pb2.STAGE_CHORDS,
    stage_pb2.STAGE_TRANSITION,
]


def times(seconds: float, step: float) -> list[float]:
    return [place * step for place in range(int(seconds / step))]


def features(seconds: float) -> results_pb2.BasicFeaturesResult:
    key = results_pb2.Key(
        tonic=6, mode=results_pb2.KEY_MODE_MINOR, name="F# minor", camelot="11A", confidence=0.8
    )
    return results_pb2.BasicFeaturesResult(
        duration=seconds,
        tempo=60 / BEAT,
        tempo_confidence=0.9,
        tempo_stability=0.95,
        beats=times(seconds, BEAT),
        downbeats=times(seconds, BAR),
        beats_per_bar=4,
        metre_confidence=0.7,
        key=key,
        tuning=441.5,
        integrated_lufs=-9.25,
        dynamic_range_db=8.5,
        beat_tracker="pulse",
    )


def sections(seconds: float) -> results_pb2.SectionsResult:
    third = seconds / 3
    roles = (
        ("A", results_pb2.SECTION_ROLE_INTRO),
        ("B", results_pb2.SECTION_ROLE_DROP),
        ("A", results_pb2.SECTION_ROLE_UNSPECIFIED),
    )
    return results_pb2.SectionsResult(
        sections=[
            results_pb2.Section(start=third * n, end=third * (n + 1), label=label, role=role, energy=0.5)
            for n, (label, role) in enumerate(roles)
        ]
    )


def chords(seconds: float) -> results_pb2.ChordsResult:
    labels = ("F#:min", "D:maj7", "F#:min", "N")
    return results_pb2.ChordsResult(
        chords=[
            results_pb2.Chord(start=time, end=time + BAR, label=labels[n % 4], confidence=0.6)
            for n, time in enumerate(times(seconds, BAR))
        ],
        source="mix",
    )


def transition(seconds: float) -> results_pb2.TransitionResult:
    return results_pb2.TransitionResult(
        mix_in=[results_pb2.CuePoint(time=0, bars=4, energy=0.3, score=0.9)],
        mix_out=[results_pb2.CuePoint(time=seconds - 4 * BAR, bars=4, energy=0.4, score=0.8)],
        phrase_bars=8,
        phrases=times(seconds, 8 * BAR),
        energy=[0.5 for _ in times(seconds, 1)],
        energy_interval=1,
    )


def analysed(job: job_pb2.Job, seconds: float = 96) -> job_pb2.Job:
    """The job with the results of all analyses but genre, which failed."""

    def done(stage: stage_pb2.Stage, **result) -> stage_pb2.StageStatus:
        return stage_pb2.StageStatus(stage=stage, state=stage_pb2.STAGE_STATE_SUCCEEDED, **result)

    job.ClearField("stages")
    job.stages.extend(
        [
            done(stage_pb2.STAGE_DECODE),
            done(stage_pb2.STAGE_BASIC_FEATURES, basic_features=features(seconds)),
            done(
                stage_pb2.STAGE_CHARACTERISTICS,
                characteristics=results_pb2.CharacteristicsResult(
                    danceability=0.75,
                    energy=0.5,
                    moods=[results_pb2.ScoredLabel(label="[happy]", score=0.6)],
                    vocal_source="mix",
                ),
            ),
            stage_pb2.StageStatus(
                stage=stage_pb2.STAGE_GENRE,
                state=stage_pb2.STAGE_STATE_FAILED,
                error=stage_pb2.JobError(reason="MODEL_UNAVAILABLE", message="put the model into a folder"),
            ),
            done(stage_pb2.STAGE_SECTIONS, sections=sections(seconds)),
            done(stage_pb2.STAGE_CHORDS, chords=chords(seconds)),
            done(stage_pb2.STAGE_TRANSITION, transition=transition(seconds)),
        ]
    )
    return job
