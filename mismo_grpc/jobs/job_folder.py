"""A new run's folder: made aside, and put in its place once the run is stored.

So an earlier run's result stays until the new run is sure of its own, and a crash leaves neither a job without
its upload nor a folder without a job. Functions block on the disk.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from mismo_grpc.errors import disk_error
from mismo_grpc.jobs.artifacts import STEMS_FOLDER, STEMS_JSON, STEMS_ZIP, write_stems_json
from mismo_grpc.jobs.job import Job
from mismo_grpc.jobs.retention import STATE_FOLDER, remove_job_files
from mismo_grpc.jobs.waveforms import waveform_names

STAGING_FOLDER = "staging"


class JobFolders:
    """The folders of jobs below `jobs_dir`."""

    def __init__(self, jobs_dir: Path) -> None:
        self._jobs_dir = jobs_dir
        self._staging = jobs_dir / STATE_FOLDER / STAGING_FOLDER

    def of(self, job_id: str) -> Path:
        """Where a job's files lie."""
        return self._jobs_dir / job_id

    def staged(self, job: Job) -> Path:
        """Where a run's folder is made. The name says whose it is: a run's id is 32 characters."""
        return self._staging / f"{job.run}{job.job_id}"

    def stage(self, job: Job) -> Path:
        """Makes an empty folder aside; raises DiskFullError or InternalError."""
        folder = self.staged(job)
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        except OSError as error:
            raise disk_error(error) from error
        return folder

    def stage_result(self, job: Job, earlier: Job) -> bool:
        """Gives the finished files of an earlier job a second name; False, and nothing, if any is gone."""
        source, folder = self.of(earlier.job_id), self.stage(job)
        try:
            (folder / STEMS_FOLDER).mkdir()
            stem_names = earlier.layout.stem_names if earlier.layout is not None else ()
            for name in stem_names:
                os.link(source / STEMS_FOLDER / f"{name}.wav", folder / STEMS_FOLDER / f"{name}.wav")
            for name in waveform_names(stem_names):
                # What an earlier version made has none.
                if name in earlier.artifacts:
                    os.link(source / name, folder / name)
            document = cast("dict[str, Any]", json.loads((source / STEMS_JSON).read_bytes()))
            write_stems_json(folder, {**document, "job_id": job.job_id, "taken_over_from": earlier.job_id})
            if (source / STEMS_ZIP).exists():
                os.link(source / STEMS_ZIP, folder / STEMS_ZIP)
        except (OSError, ValueError):
            shutil.rmtree(folder, ignore_errors=True)
            return False
        return True

    def adopt(self, job: Job) -> None:
        """Puts a staged folder in its place; an earlier run's goes, its readers keep what they have open."""
        remove_job_files(self._jobs_dir, job.job_id)
        os.rename(self.staged(job), self.of(job.job_id))

    def drop(self, job: Job) -> None:
        """Removes the staged folder of a run that was not accepted."""
        shutil.rmtree(self.staged(job), ignore_errors=True)

    def recover(self, find: Callable[[str], Job | None]) -> int:
        """Finishes what a crash left aside: folders of stored runs get their place, others go. Answers how many
        got it."""
        adopted = 0
        for folder in list(self._staging.iterdir()) if self._staging.is_dir() else []:
            run, job_id = folder.name[:32], folder.name[32:]
            job = find(job_id)
            if job is not None and job.run == run:
                self.adopt(job)
                adopted += 1
            else:
                shutil.rmtree(folder, ignore_errors=True)
        return adopted

    def remove(self, job_id: str) -> None:
        """Removes a job's folder."""
        remove_job_files(self._jobs_dir, job_id)
