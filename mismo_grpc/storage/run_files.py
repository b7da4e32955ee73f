"""Where the files of one run lie: the one place that knows their names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFiles:
    """The paths of a run whose folder is `folder`; nothing is read or made here.

    What is in `work` serves the run until it has ended: it is not synced, and is trusted only within the boot that
    wrote it. All else is the result, but for `source`, which is the uploaded track.
    """

    folder: Path

    @property
    def run_id(self) -> str:
        """The run's id, which is the folder's name."""
        return self.folder.name

    @property
    def stems(self) -> Path:
        """The folder of the stem files."""
        return self.folder / "stems"

    def stem(self, name: str) -> Path:
        """A stem's WAV file."""
        return self.stems / f"{name}.wav"

    @property
    def stems_json(self) -> Path:
        """Checksums, settings and timings of the stems."""
        return self.folder / "stems.json"

    def artifact(self, name: str) -> Path:
        """Another file of the result; the caller has checked the name."""
        return self.folder / name

    @property
    def source(self) -> Path:
        """The uploaded track; a track that was named by its path has none here."""
        return self.folder / "source"

    @property
    def work(self) -> Path:
        """The folder of work files."""
        return self.folder / "work"

    @property
    def mix(self) -> Path:
        """The decoded track."""
        return self.work / "mix.f32"

    @property
    def mix_record(self) -> Path:
        """What is known of the decoded track."""
        return self.work / "mix.json"

    @property
    def journal(self) -> Path:
        """Which segments are done."""
        return self.work / "journal"

    @property
    def pieces(self) -> Path:
        """The folder of segments' parts that wait for their neighbours."""
        return self.work / "pieces"

    @property
    def peaks(self) -> Path:
        """The peaks of the stems as far as they are written."""
        return self.work / "peaks"

    @property
    def unconverted(self) -> Path:
        """Final frames at the model's sample rate, where the stems have another."""
        return self.work / "final.f32"
