"""How a separation, a generation or an analysis goes, for a person at a terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from mismo.analysis.v1 import job_pb2
from mismo_client.durations import seconds_of
from mismo_client.timecode import format_timecode
from mismo_client.transfer.stem_format import StemFormat


class ProgressReporter:
    """A bar on the console while it is a terminal, plain lines otherwise. A context manager."""

    def __init__(self, console: Console, work: str = "separating") -> None:
        """`work`: what the bar says while stems are made."""
        self._console = console
        self._work = work
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[detail]}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("connecting", total=None, detail="")
        self._track_seconds = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        """A line above the bar."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def uploading(self, done: int, total: int) -> None:
        """Moves the bar of the upload."""
        detail = f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"
        self._bar.update(self._task, description="uploading", completed=done, total=total, detail=detail)

    def submitted(self, job: job_pb2.Job) -> None:
        """Begins the bar of the stems."""
        model = job.model + (f" in place of {job.fallback_from}" if job.fallback_from else "")
        generated = job.options.HasField("generation")
        self.note(f"job {job.job_id}, {'generator' if generated else 'model'} {model}")
        first = "starting" if generated else "decoding"
        self._bar.update(self._task, description=first, completed=0, total=None, detail="")

    def known(self, form: StemFormat) -> None:
        """From now on speeds can be told."""
        self._track_seconds = form.seconds

    def progressed(self, progress: job_pb2.Progress) -> None:
        """Moves the bar of the stems."""
        if progress.queue_position:
            detail = f"number {progress.queue_position} in the queue"
            self._bar.update(self._task, description="waiting", total=None, detail=detail)
        elif progress.segments_total:
            self._bar.update(
                self._task,
                description=self._work if progress.segments_done < progress.segments_total else "finishing",
                completed=progress.segments_done,
                total=progress.segments_total,
                detail=self._detail(progress),
            )

    def exporting(self, name: str, done: int, total: int) -> None:
        """Moves the bar of the exports."""
        detail = f"{done / 1e6:.1f} of {total / 1e6:.1f} MB" if total else "the server makes it"
        self._bar.update(self._task, description=name, completed=done, total=total or None, detail=detail)

    def analysing(self, fraction: float, running: str) -> None:
        """Moves the bar of the analyses."""
        self._bar.update(self._task, description="analysing", completed=fraction, total=1, detail=running)

    def first_audio(self, seconds: float) -> None:
        """The promise, kept."""
        self.note(f"first audio after {seconds:.2f} s")

    def _detail(self, progress: job_pb2.Progress) -> str:
        parts = [f"{progress.segments_done}/{progress.segments_total} segments"]
        left = self._track_seconds * (1 - progress.fraction)
        if progress.HasField("eta"):
            eta = seconds_of(progress.eta)
            parts.append(f"{format_timecode(eta)} left")
            if eta > 0 and left > 0:
                parts.append(f"{left / eta:.1f}× realtime")
        return " · ".join(parts)
