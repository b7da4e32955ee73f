"""Time limits that are multiples of the model's forward pass, plus a constant."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.table import Figure

SLACK_SECONDS = 0.3


@dataclass(frozen=True)
class Trial:
    """The time of one trial, and of a forward pass around it, in seconds."""

    seconds: float
    forward_seconds: float


@dataclass(frozen=True)
class ForwardLimit:
    """The limit of every trial: `forwards` × the forward pass + SLACK_SECONDS."""

    forwards: float
    trials: Sequence[Trial]

    def limit(self, trial: Trial) -> float:
        """Returns the limit of one trial in seconds, by its own forward pass."""
        return self.forwards * trial.forward_seconds + SLACK_SECONDS

    @property
    def met(self) -> bool:
        """Whether all trials are within the limit."""
        return all(trial.seconds <= self.limit(trial) for trial in self.trials)

    @property
    def measured(self) -> str:
        """The median, and the trial that was closest to its limit or exceeded it most."""
        median = statistics.median(trial.seconds for trial in self.trials)
        tightest = max(self.trials, key=lambda trial: trial.seconds / self.limit(trial))
        return (
            f"{median:.2f} s; in the tightest of {len(self.trials)} trials {tightest.seconds:.2f} s where "
            f"{self.limit(tightest):.2f} s were allowed (forward {tightest.forward_seconds:.2f} s)"
        )

    @property
    def figures(self) -> dict[str, Figure]:
        """For programs."""
        return {
            "seconds": [trial.seconds for trial in self.trials],
            "forward_seconds": [trial.forward_seconds for trial in self.trials],
            "forwards_allowed": self.forwards,
            "slack_seconds": SLACK_SECONDS,
        }
