"""Selects the stems that a job makes from a model's sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mismo_grpc.errors import InvalidFieldError


@dataclass(frozen=True)
class StemSelection:
    """The stem names in stream order, and the matrix [stems, sources] that sums each from the sources."""

    names: tuple[str, ...]
    matrix: npt.NDArray[np.float32]

    @property
    def needed_sources(self) -> tuple[int, ...]:
        """The indexes of the sources that any stem uses."""
        return tuple(int(i) for i in np.flatnonzero(self.matrix.any(axis=0)))


def select_stems(
    sources: Sequence[str], stem_names: Sequence[str] = (), two_stems: str = ""
) -> StemSelection:
    """Selects all stems, some by name, or one and its complement (the sum of the others, as in demucs).

    Raises InvalidFieldError for an unknown or repeated name.
    """
    known = ", ".join(sources)
    identity = np.eye(len(sources), dtype=np.float32)
    if two_stems:
        if two_stems not in sources:
            raise InvalidFieldError(
                f"options.stems.two_stems: the model has no stem {two_stems[:64]!r}; it has {known}",
                field="options.stems.two_stems",
            )
        row = identity[list(sources).index(two_stems)]
        return StemSelection((two_stems, f"no_{two_stems}"), np.stack([row, 1 - row]))
    for name in stem_names:
        if name not in sources:
            raise InvalidFieldError(
                f"options.stems.stem_names: the model has no stem {name[:64]!r}; it has {known}",
                field="options.stems.stem_names",
            )
    if len(set(stem_names)) != len(stem_names):
        raise InvalidFieldError(
            "options.stems.stem_names: a name is given twice", field="options.stems.stem_names"
        )
    names = tuple(name for name in sources if name in stem_names) if stem_names else tuple(sources)
    rows = [list(sources).index(name) for name in names]
    return StemSelection(names, identity[rows])
