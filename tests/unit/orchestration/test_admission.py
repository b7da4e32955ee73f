"""Admission: what a submit is checked for, with a real catalog, disk, job store and uploads, and no server."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest

from mismo_grpc.errors import (
    DiskFullError,
    EmptyAudioError,
    InvalidFieldError,
    MismoError,
    ModelUnavailableError,
    NotSupportedYetError,
    PlayheadBeyondEndError,
    SourceNotFoundError,
    SourcePathForbiddenError,
    UnsupportedAudioError,
    UploadIncompleteError,
    UploadNotFoundError,
)
from mismo_grpc.jobs.job import (
    JobRequest,
    JobState,
    Priority,
    Stage,
    StageState,
    StemOptions,
)
from mismo_grpc.orchestration.admission import Admission, default_model
from mismo_grpc.results.disk_room import mix_bytes, stems_bytes
from mismo_grpc.separation.catalog import ModelCatalog
from mismo_grpc.storage.disk import QuotaDisk
from tests.unit.orchestration.place import (
    ABSENT,
    MODEL,
    NOW,
    RATE,
    Place,
    request_for,
    upload_of,
    write_wav,
)


async def refused(
    admission: Admission, request: JobRequest, kind: type[MismoError], field: str
) -> MismoError:
    """The error of a submit; fails unless it is of that kind and names that field."""
    with pytest.raises(kind) as caught:
        await admission.check(request)
    assert caught.value.field == field
    assert field in caught.value.message
    return caught.value


# The job that is accepted


async def test_a_submit_becomes_a_queued_job_with_all_that_is_known(place: Place) -> None:
    track = write_wav(place.music / "a.wav")
    request = request_for(
        track, job_id="mine", labels={"deck": "a"}, priority=Priority.HIGH, result_ttl=60.0, playhead=0.5
    )
    admitted = await place.admission().check(request)
    job = admitted.job
    assert (job.job_id, job.state, job.revision, job.created_at) == ("mine", JobState.QUEUED, 1, NOW)
    assert (job.model, job.fallback_from, job.warnings) == (MODEL, "", ())
    assert (job.labels, job.priority, job.result_ttl) == ({"deck": "a"}, Priority.HIGH, 60.0)
    assert (job.source, job.options) == (request.source, request.options)
    assert job.source_sha256 == hashlib.sha256(track.read_bytes()).hexdigest()
    assert (job.source_bytes, job.source_mtime_ns) == (track.stat().st_size, track.stat().st_mtime_ns)
    assert "cpu fp32" in job.model_fingerprint
    assert job.stage(Stage.STEMS).state is StageState.PENDING
    assert admitted.cached is None


async def test_every_submit_is_a_run_of_its_own(place: Place) -> None:
    request = request_for(write_wav(place.music / "a.wav"))
    jobs = [(await place.admission().check(request)).job for _ in range(3)]
    assert len({job.run_id for job in jobs}) == len({job.job_id for job in jobs}) == 3


async def test_nothing_is_made_before_the_job_is_prepared(place: Place) -> None:
    admission = place.admission()
    admitted = await admission.check(request_for(write_wav(place.music / "a.wav")))
    assert list(place.runs.root.iterdir()) == []
    assert await admission.prepare(admitted) == admitted.job
    assert await admission.may_still_have(admitted)


async def test_a_server_that_does_not_know_its_device_yet_takes_jobs(place: Place) -> None:
    place.device = None
    job = (await place.admission().check(request_for(write_wav(place.music / "a.wav")))).job
    assert job.model_fingerprint == ""
    assert place.asked_for_device == 0


# Where the track comes from


async def test_paths_outside_the_folders_are_forbidden(place: Place) -> None:
    outside = write_wav(place.folder / "a.wav")
    (place.music / "link.wav").symlink_to(outside)
    for path in (outside, place.music / ".." / "a.wav", place.music / "link.wav", "/nowhere/at/all"):
        await refused(place.admission(), request_for(path), SourcePathForbiddenError, "source.path")


async def test_paths_that_are_no_files(place: Place) -> None:
    (place.music / "folder").mkdir()
    admission = place.admission()
    await refused(admission, request_for(place.music / "gone.wav"), SourceNotFoundError, "source.path")
    await refused(admission, request_for(place.music / "folder"), InvalidFieldError, "source.path")
    await refused(admission, request_for("music/a.wav"), InvalidFieldError, "source.path")
    await refused(admission, request_for("/music/\0.wav"), InvalidFieldError, "source.path")


async def test_a_server_may_take_no_paths_at_all(place: Place) -> None:
    request = request_for(write_wav(place.music / "a.wav"))
    for admission in (
        place.admission(sources=place.sources(paths_allowed=False)),
        place.admission(sources=place.sources([])),
    ):
        error = await refused(admission, request, SourcePathForbiddenError, "source.path")
        assert "upload" in error.message


async def test_an_upload_is_linked_into_the_folder_of_its_run(place: Place) -> None:
    content = write_wav(place.folder / "a.wav").read_bytes()
    upload_id = await place.uploaded(content)
    admission = place.admission(sources=place.sources(paths_allowed=False))
    admitted = await admission.check(upload_of(upload_id))
    assert admitted.job.source_sha256 == hashlib.sha256(content).hexdigest()
    job = await admission.prepare(admitted)
    source = place.runs.files(job.run_id).source
    assert os.path.samefile(source, place.uploads.path_of(upload_id))
    await place.uploads.discard(upload_id)
    assert source.read_bytes() == content


async def test_uploads_that_are_not_there(place: Place) -> None:
    admission = place.admission()
    with pytest.raises(UploadNotFoundError):
        await admission.check(upload_of("0" * 32))
    content = write_wav(place.folder / "a.wav").read_bytes()
    with pytest.raises(UploadIncompleteError):
        await admission.check(upload_of(await place.uploaded(content, sent=1000)))


async def test_an_upload_that_goes_before_it_is_linked(place: Place) -> None:
    upload_id = await place.uploaded(write_wav(place.folder / "a.wav").read_bytes())
    admission = place.admission()
    admitted = await admission.check(upload_of(upload_id))
    await place.uploads.discard(upload_id)
    with pytest.raises(UploadNotFoundError):
        await admission.prepare(admitted)


# What the track is


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"", EmptyAudioError), (b"these are words, and no sound" * 99, UnsupportedAudioError)],
)
async def test_what_is_no_audio_is_refused(place: Place, content: bytes, kind: type[MismoError]) -> None:
    path = place.music / "a.wav"
    path.write_bytes(content)
    with pytest.raises(kind) as by_path:
        await place.admission().check(request_for(path))
    assert by_path.value.field == "source.path"
    if content:
        with pytest.raises(kind) as by_upload:
            await place.admission().check(upload_of(await place.uploaded(content)))
        assert by_upload.value.field == "source.upload_id"


async def test_a_playhead_past_the_end_is_refused(place: Place) -> None:
    track = write_wav(place.music / "a.wav", 2 * RATE)
    await place.admission().check(request_for(track, playhead=1.999))
    for playhead in (2.0, 1e6):
        await refused(
            place.admission(),
            request_for(track, playhead=playhead),
            PlayheadBeyondEndError,
            "options.stems.playhead",
        )


async def test_a_track_that_is_too_long_is_refused(place: Place) -> None:
    track = write_wav(place.music / "a.wav", 3 * RATE)
    await place.admission(sources=place.sources(max_track_seconds=3.0)).check(request_for(track))
    error = await refused(
        place.admission(sources=place.sources(max_track_seconds=2.9)),
        request_for(track),
        InvalidFieldError,
        "source.path",
    )
    assert "3 s long" in error.message


async def test_more_segments_than_a_job_may_have_are_refused(place: Place) -> None:
    track = write_wav(place.music / "a.wav", 8_000 * 1_200, rate=8_000)
    await place.admission().check(request_for(track, overlap=0.95))
    error = await refused(
        place.admission(),
        request_for(track, overlap=0.95, shifts=20),
        InvalidFieldError,
        "options.stems.overlap",
    )
    assert int(error.metadata["segments"]) > int(error.metadata["max_segments"])


# The model, the stems, the stages


async def test_a_model_that_is_not_there_is_refused(place: Place) -> None:
    track = write_wav(place.music / "a.wav")
    with pytest.raises(ModelUnavailableError, match="no_such_model"):
        await place.admission().check(request_for(track, model="no_such_model"))


async def test_a_job_that_names_no_model_may_get_another_than_the_wanted_one(place: Place) -> None:
    track = write_wav(place.music / "a.wav")
    admission = place.admission(wanted_model=ABSENT)
    job = (await admission.check(request_for(track))).job
    assert (job.model, job.fallback_from) == (MODEL, ABSENT)
    (warning,) = job.warnings
    assert ABSENT in warning
    assert MODEL in warning
    # Who asks for it by name wants no other.
    named = (await admission.check(request_for(track, model=MODEL))).job
    assert (named.model, named.fallback_from, named.warnings) == (MODEL, "", ())


def test_the_default_is_the_wanted_model_if_it_is_there() -> None:
    catalog = ModelCatalog([])
    assert default_model(catalog, MODEL) == MODEL
    assert default_model(catalog, "no_such_model") == MODEL


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"stem_names": ("flute",)}, "options.stems.stem_names"),
        ({"stem_names": ("bass", "bass")}, "options.stems.stem_names"),
        ({"two_stems": "flute"}, "options.stems.two_stems"),
    ],
)
async def test_stems_that_the_model_does_not_make_are_refused(
    place: Place, options: dict[str, Any], field: str
) -> None:
    await refused(
        place.admission(), request_for(write_wav(place.music / "a.wav"), **options), InvalidFieldError, field
    )


async def test_a_copy_of_the_results_needs_a_container(place: Place) -> None:
    error = await refused(
        place.admission(),
        request_for(write_wav(place.music / "a.wav"), stages=(Stage.STEMS, Stage.BLOB_UPLOAD)),
        NotSupportedYetError,
        "options.stages",
    )
    assert "BLOB_CONTAINER_NAME" in error.message


# The room on the disk


@pytest.mark.parametrize(
    ("options", "stems"), [({}, 4), ({"two_stems": "vocals"}, 2), ({"stem_names": ("bass",)}, 1)]
)
async def test_the_decoded_track_and_its_stems_must_fit_beside_the_reserve(
    place: Place, options: dict[str, Any], stems: int
) -> None:
    track = write_wav(place.music / "a.wav", 3 * RATE)
    needed = mix_bytes(3 * RATE) + stems_bytes(3 * RATE, RATE, stems, 0, StemOptions().encoding)
    request = request_for(track, **options)
    await place.admission(QuotaDisk(needed + 1000), disk_reserve=1000).check(request)
    with pytest.raises(DiskFullError):
        await place.admission(QuotaDisk(needed + 999), disk_reserve=1000).check(request)
