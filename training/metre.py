"""Fit the weights of metrical hypotheses: python -m training.metre --out FILE --cache DIR [--font FILE ...].

Songs are composed from their seeds and rendered with the voices of mismo_grpc.generation or, like those of
training.rendering, with sound fonts. The weights are those of a multinomial logistic regression (conditional logit:
D. McFadden, 1974) over the hypotheses of each song, with an L2 penalty, which is chosen by cross-validation with whole
songs held out. Prints Markdown tables: the cross-validation, and the weights of the package beside the new ones on
other songs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from mismo_grpc.analysis.arrays import Values
from mismo_grpc.analysis.rhythm.metre_weights import WEIGHTS
from mismo_grpc.analysis.rhythm.onsets import measure_onsets
from training.metre_songs import Example, cached_song, click_track, examples
from training.songs import SAMPLE_RATE

PLACES = (
    "beats against eighth offbeats",
    "eighth offbeats against the other sixteenths",
    "beats against the mean of all frames",
    "the downbeat against all beats",
    "4/4: beats 2 and 4 against all beats",
    "4/4: beat 3 against all beats",
    "3/4: beat 2 against beat 3",
)
"""The features of `rhythm.metre` for each of OBSERVATIONS."""
OBSERVATIONS = 5
CORRELATIONS = ("below 160 Hz", "1 to 4.5 kHz", "above 4.5 kHz", "all")
LAGS = 5
SCALARS = 4
FEATURES = len(PLACES) * OBSERVATIONS + len(CORRELATIONS) * LAGS + SCALARS

SCALAR_PENALTY = 0.01
"""The penalty of the SCALARS relative to that of the others: tempo and metre are no contrasts of similar strengths."""
PENALTIES = (0.0003, 0.001, 0.003, 0.01)
NEWTON_STEPS = 100
PRECISION = 1e-7
"""The fit ends when a step lowers the loss by less."""

TEMPLATE = '''"""The weights of the features of a metrical hypothesis.

Fitted to composed songs (`mismo_grpc.generation`) by multinomial logistic regression over the hypotheses of each song,
with an L2 penalty; the features of `mismo_grpc.analysis.rhythm.metre`. The fit is that of `training.metre`.
"""

from __future__ import annotations

import numpy as np

PLACE_WEIGHTS = (
{places}
)
"""The columns: onsets below 160 Hz, to 1 kHz, to 4.5 kHz and above, change of harmony."""

CORRELATION_WEIGHTS = (
{correlations}
)
"""The columns: lags of an eighth, a beat, half a bar, a bar and two bars."""

WALTZ_WEIGHT, OCTAVE_WEIGHT, OCTAVE_SQUARED_WEIGHT, PULSE_WEIGHT = {scalars}
"""Of 3/4 time, of octaves above the reference tempo and their square, of the mean strength of the pulse."""

WEIGHTS = np.array(
    [
        *(weight for row in (*PLACE_WEIGHTS, *CORRELATION_WEIGHTS) for weight in row),
        WALTZ_WEIGHT,
        OCTAVE_WEIGHT,
        OCTAVE_SQUARED_WEIGHT,
        PULSE_WEIGHT,
    ]
)
'''


class Likelihood:
    """The mean of -log P(right hypotheses) over examples, of which each has a right one."""

    def __init__(self, songs: Sequence[Example]) -> None:
        self._features = np.concatenate([example.features for example in songs])
        self._right = np.concatenate([example.bars for example in songs])
        sizes = np.array([len(example.features) for example in songs])
        self._starts = np.cumsum(sizes) - sizes
        self._song = np.repeat(np.arange(len(songs)), sizes)

    def loss(self, weights: Values) -> float:
        """The loss without a penalty."""
        return self._shares(weights)[2]

    def derivatives(self, weights: Values) -> tuple[Values, Values]:
        """The gradient, and the covariance of the features, [features, features].

        The covariance is the Hessian if each example has one right hypothesis, and else above it: as in expectation
        maximisation, the shares of the right ones are held.
        """
        shares, right, _ = self._shares(weights)
        expected = np.add.reduceat(shares[:, np.newaxis] * self._features, self._starts)
        observed = np.add.reduceat(right[:, np.newaxis] * self._features, self._starts)
        products = (shares[:, np.newaxis] * self._features).T @ self._features
        count = len(self._starts)
        return (expected - observed).mean(axis=0), (products - expected.T @ expected) / count

    def _shares(self, weights: Values) -> tuple[Values, Values, float]:
        """The probability of each hypothesis, that among the right ones, and the loss."""
        scores = self._features @ weights
        scores -= np.maximum.reduceat(scores, self._starts)[self._song]
        likely = np.exp(scores)
        total = np.add.reduceat(likely, self._starts)
        # The best of the right ones may be far below the best of all.
        right_scores = np.where(self._right, scores, -np.inf)
        highest = np.maximum.reduceat(right_scores, self._starts)
        right = np.exp(right_scores - highest[self._song])
        right_total = np.add.reduceat(right, self._starts)
        loss = float((np.log(total) - highest - np.log(right_total)).mean())
        return likely / total[self._song], right / right_total[self._song], loss


def fit(songs: Sequence[Example], penalty: float) -> Values:
    """The weights of least loss plus `penalty` times their squares, by Newton's method with step halving.

    Examples without a right hypothesis have no likelihood and are left out. Raises ValueError if none is left.
    """
    known = [example for example in songs if example.bars.any()]
    if not known:
        raise ValueError("no example has a right hypothesis")
    likelihood = Likelihood(known)
    size = known[0].features.shape[1]
    ridge = np.full(size, penalty)
    ridge[-SCALARS:] *= SCALAR_PENALTY
    weights = np.zeros(size)
    loss = likelihood.loss(weights)
    for _ in range(NEWTON_STEPS):
        gradient, covariance = likelihood.derivatives(weights)
        gradient += 2 * ridge * weights
        step = np.linalg.solve(covariance + np.diag(2 * ridge), gradient)
        before, length = loss, 1.0
        while length > PRECISION:
            tried = weights - length * step
            loss = likelihood.loss(tried) + float(ridge @ np.square(tried))
            if loss < before:
                weights = tried
                break
            length /= 2
        if loss > before - PRECISION:
            break
    return weights


def cross_validated(songs: Sequence[Example], penalty: float, folds: int) -> list[tuple[Example, Values]]:
    """Each example with the weights that were fitted without its song."""
    names = sorted({example.song for example in songs})
    fold_of = {name: index % folds for index, name in enumerate(names)}
    made: list[tuple[Example, Values]] = []
    for fold in range(folds):
        weights = fit([example for example in songs if fold_of[example.song] != fold], penalty)
        made += [(example, weights) for example in songs if fold_of[example.song] == fold]
    return made


def mean_loss(judged: Sequence[tuple[Example, Values]]) -> float:
    """The mean of -log P(right) over the examples that have a right hypothesis."""
    return float(np.mean([Likelihood([e]).loss(weights) for e, weights in judged if e.bars.any()]))


def shares_right(judged: Sequence[tuple[Example, Values]]) -> tuple[float, float]:
    """The shares of the examples whose chosen hypothesis has the right beats, and also the right bars."""
    chosen = [(example, int((example.features @ weights).argmax())) for example, weights in judged]
    return (
        float(np.mean([example.beats[best] for example, best in chosen])),
        float(np.mean([example.bars[best] for example, best in chosen])),
    )


def module_text(weights: Values) -> str:
    """The module metre_weights. Raises ValueError if the number of weights is not FEATURES."""
    if len(weights) != FEATURES:
        raise ValueError(f"there are {FEATURES} features; got {len(weights)} weights")
    places = len(PLACES) * OBSERVATIONS
    return TEMPLATE.format(
        places=_rows(weights[:places].reshape(-1, OBSERVATIONS), PLACES),
        correlations=_rows(weights[places:-SCALARS].reshape(-1, LAGS), CORRELATIONS),
        scalars=_numbers(weights[-SCALARS:]),
    )


def _rows(rows: Values, names: Sequence[str]) -> str:
    return "\n".join(f"    {_numbers(row)},  # {name}" for row, name in zip(rows, names, strict=True))


def _numbers(row: Values) -> str:
    return f"({', '.join(f'{round(float(weight), 2) + 0.0:.2f}' for weight in row)})"


def song_examples(seed: int, *, cache: Path, seconds: float, fonts: Sequence[Path]) -> list[Example]:
    """The examples of a song that is rendered, or taken from the cache."""
    return examples(f"song {seed}", *cached_song(cache, seed, seconds, fonts))


def click_examples(seed: int) -> list[Example]:
    """The examples of a click track."""
    audio, truth = click_track(seed)
    return examples(f"clicks {seed}", measure_onsets(audio, SAMPLE_RATE), truth)


def _comparison(songs: Sequence[Example], weights: Values) -> list[str]:
    """A table of the shares of right beats and bars with the weights of the package, and with others."""
    rows = [
        "| other songs | examples | beats, package | bars, package | beats, new | bars, new |",
        "|---|---|---|---|---|---|",
    ]
    for kind in ("all", *sorted({example.kind for example in songs})):
        chosen = [example for example in songs if kind in ("all", example.kind)]
        old, new = (shares_right([(example, w) for example in chosen]) for w in (WEIGHTS, weights))
        figures = " | ".join(f"{share:.3f}" for share in (*old, *new))
        rows.append(f"| {kind} | {len(chosen)} | {figures} |")
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the module that is written")
    parser.add_argument("--cache", type=Path, required=True, help="folder for the onsets of the songs")
    parser.add_argument("--songs", type=int, default=160)
    parser.add_argument("--clicks", type=int, default=20, help="click tracks")
    parser.add_argument("--seconds", type=float, default=40.0, help="length of each song")
    parser.add_argument("--first-seed", type=int, default=300_000, help="seeds go up from here")
    parser.add_argument("--font", type=Path, action="append", default=[], help="sound font; repeatable")
    parser.add_argument("--penalty", type=float, action="append", help="L2; repeatable: the best is chosen")
    parser.add_argument("--folds", type=int, default=8, help="of the cross-validation")
    parser.add_argument("--check-songs", type=int, default=48, help="songs that are not fitted to")
    parser.add_argument("--check-first-seed", type=int, default=700_000)
    parser.add_argument("--check-font", type=Path, action="append", default=[], help="for those; repeatable")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    missing = [str(font) for font in (*args.font, *args.check_font) if not font.is_file()]
    if missing:
        parser.error(f"no such sound font: {', '.join(missing)}")
    fitted: list[Example] = []
    checked: list[Example] = []
    with ProcessPoolExecutor(args.workers, get_context("spawn")) as pool:
        for folder, first, count, fonts, found in (
            ("fit", args.first_seed, args.songs, args.font, fitted),
            ("check", args.check_first_seed, args.check_songs, args.check_font, checked),
        ):
            cache = args.cache / folder
            cache.mkdir(parents=True, exist_ok=True)
            of_song = partial(song_examples, cache=cache, seconds=args.seconds, fonts=fonts)
            for made in pool.map(of_song, range(first, first + count)):
                found += made
            clicks = args.clicks if folder == "fit" else args.clicks // 2
            for made in pool.map(click_examples, range(first, first + clicks)):
                found += made
    print("| penalty | loss, held out | beats, held out | bars, held out |", "|---|---|---|---|", sep="\n")
    losses: dict[float, float] = {}
    for penalty in args.penalty or PENALTIES:
        judged = cross_validated(fitted, penalty, args.folds)
        losses[penalty] = mean_loss(judged)
        beats, bars = shares_right(judged)
        print(f"| {penalty:g} | {losses[penalty]:.4f} | {beats:.3f} | {bars:.3f} |", flush=True)
    weights = fit(fitted, min(losses, key=losses.__getitem__))
    if checked:
        print("", *_comparison(checked, weights), sep="\n")
    args.out.write_text(module_text(weights), encoding="utf-8")


if __name__ == "__main__":
    main()
