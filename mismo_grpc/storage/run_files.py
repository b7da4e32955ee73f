"""The paths of one run's files; no other module knows their names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFiles:
    """The paths of a run whose folder is `folder`; it neither reads nor creates them.

    Files in `work` are needed until the run has ended. They are not synced, and are trusted only within the boot that
    wrote them. `source` is the uploaded track; all other files are the result.
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
        """The file with checksums, settings and timings of the stems."""
        return self.folder / "stems.json"

    def artifact(self, name: str) -> Path:
        """Another file of the result; the caller must have checked the name."""
        return self.folder / name

    @property
    def exports(self) -> Path:
        """The folder of the stems in other formats, which may be made long after the run has ended."""
        return self.folder / "exports"

    @property
    def source(self) -> Path:
        """The uploaded track; missing if the job named its track by path."""
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
        """The properties of the decoded track, as JSON."""
        return self.work / "mix.json"

    @property
    def journal(self) -> Path:
        """The work journal: which segments and frames are finished."""
        return self.work / "journal"

    @property
    def pieces(self) -> Path:
        """The folder of pieces: parts of segments whose overlapping segments are not computed yet."""
        return self.work / "pieces"

    @property
    def peaks(self) -> Path:
        """The peaks of the stem frames written so far."""
        return self.work / "peaks"

    @property
    def unconverted(self) -> Path:
        """Final frames at the model's sample rate, if the stems have another rate."""
        return self.work / "final.f32"
