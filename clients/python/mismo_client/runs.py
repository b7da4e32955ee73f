"""The run of a job that a stream belongs to."""

from __future__ import annotations

from mismo_client.errors import RunReplacedError


class StreamRun:
    """Remembers the first run that a stream meets, and holds every further call to it.

    `run_id` is what further calls expect; empty until the first answer, unless one was expected from the
    beginning.
    """

    def __init__(self, job_id: str, expected_run_id: str = "") -> None:
        self._job_id = job_id
        self.run_id = expected_run_id

    def check(self, run_id: str) -> None:
        """Raises RunReplacedError if an answer belongs to another run; an empty id tells nothing."""
        if self.run_id and run_id and run_id != self.run_id:
            raise RunReplacedError.between(self._job_id, self.run_id, run_id)
        self.run_id = self.run_id or run_id
