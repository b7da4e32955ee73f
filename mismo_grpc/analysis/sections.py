"""Finds the sections of a track: boundaries, labels by what sounds alike, roles where the energy makes them clear."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from mismo_grpc.analysis.arrays import Audio
from mismo_grpc.analysis.inputs import AnalysisInputs
from mismo_grpc.analysis.results import Section, SectionRole, SectionsResult
from mismo_grpc.analysis.structure.energy import FULL_SHARE, interval_energies, usual_peak
from mismo_grpc.analysis.structure.features import unit_features
from mismo_grpc.analysis.structure.grid import make_grid
from mismo_grpc.analysis.structure.labels import cluster, letters
from mismo_grpc.analysis.structure.segmentation import clarities, penalty, segment
from mismo_grpc.analysis.structure.spectra import measure_spectra

LABEL_PENALTIES = 1.3
"""Two groups of sections get the same label if that adds at most this many penalties of a segment."""
REDUCED_SHARE = 0.72
"""A section of at most this share of the usual peak energy is clearly reduced: 4.7 dB less."""
CLEAR_RISE = 0.75
"""A drop is preceded by a section of at most this share of its energy: 4.2 dB less."""
EDGE_SHARE = 0.25
"""Intro and outro may take this share of the track each."""


def analyse_sections(inputs: AnalysisInputs) -> SectionsResult:
    """Finds the sections of the mix by the beats of `inputs.basic_features`, if any; runs as a task of the pool.

    Raises ValueError as `MixFile.samples` and `find_sections` do; OSError if the file cannot be opened.
    """
    known = inputs.basic_features
    beats, downbeats = (known.beats, known.downbeats) if known is not None else ((), ())
    return find_sections(inputs.mix.samples(), inputs.mix.sample_rate, beats, downbeats)


def find_sections(
    audio: Audio, sample_rate: int, beats: Sequence[float], downbeats: Sequence[float]
) -> SectionsResult:
    """Finds the sections of audio [frames, channels], or [frames] for mono; beats and downbeats are in seconds.

    Boundaries are at downbeats, mostly 4 or 8 bars apart; without downbeats at every fourth beat, without beats at
    multiples of 0.5 s. Where downbeats are missing for longer than a bar and a half, bars of the usual length fill the
    gap. `confidence` is how much of the difference between the bars around the start the boundary explains (η²); the
    first section has the confidence of the next one, a single section has 0. `energy` is as in `interval_energies`.
    NaN and infinite samples count as 0. Audio without frames has no sections.

    Raises ValueError as `check_audio` does.
    """
    spectra = measure_spectra(audio, sample_rate)
    if spectra.duration == 0.0:
        return SectionsResult(())
    grid = make_grid(spectra.duration, beats, downbeats)
    features = unit_features(spectra, grid)
    starts = segment(features, grid)
    clusters = cluster(features, starts, LABEL_PENALTIES * penalty(features, grid.units_per_bar))
    starts, clusters = _joined(starts, clusters)
    edges = grid.edges[starts]
    energies = interval_energies(spectra, edges).tolist()
    confidences = clarities(features, starts, grid.units_per_bar).tolist()
    times: list[float] = edges.tolist()
    roles = section_roles(times, energies)
    return SectionsResult(
        tuple(
            Section(begin, end, letters(number), role, round(confidence, 4), round(energy, 4))
            for begin, end, number, role, confidence, energy in zip(
                times, times[1:], clusters, roles, confidences, energies, strict=False
            )
        )
    )


def section_roles(edges: Sequence[float], energies: Sequence[float]) -> list[SectionRole | None]:
    """The roles of sections between `edges` in seconds, by their energies, 0 to 1.

    Full sections have FULL_SHARE of the usual peak energy or more, reduced ones REDUCED_SHARE or less.
    Reduced sections before any full one are the intro, those after all full ones the outro, as long as they are within
    EDGE_SHARE of the track's ends; reduced sections between full ones are breakdowns. A full section is a drop if the
    energy rises at its start by CLEAR_RISE.
    """
    highest = usual_peak(np.diff(edges), np.array(energies))
    full = [index for index, energy in enumerate(energies) if energy >= FULL_SHARE * highest > 0.0]
    length = edges[-1] - edges[0]
    roles: list[SectionRole | None] = []
    for index, energy in enumerate(energies):
        role: SectionRole | None = None
        if full and energy <= REDUCED_SHARE * highest:
            if full[0] < index < full[-1]:
                role = SectionRole.BREAKDOWN
            elif index < full[0] and edges[index + 1] - edges[0] <= EDGE_SHARE * length:
                role = SectionRole.INTRO
            elif index > full[-1] and edges[-1] - edges[index] <= EDGE_SHARE * length:
                role = SectionRole.OUTRO
        elif index in full and index > 0 and energies[index - 1] <= CLEAR_RISE * energy:
            role = SectionRole.DROP
        roles.append(role)
    return roles


def _joined(starts: list[int], clusters: list[int]) -> tuple[list[int], list[int]]:
    """Joins neighbours of the same cluster, as the longest segment is limited."""
    firsts = [next(group)[0] for _, group in groupby(enumerate(clusters), key=lambda item: item[1])]
    return [*(starts[index] for index in firsts), starts[-1]], [clusters[index] for index in firsts]
