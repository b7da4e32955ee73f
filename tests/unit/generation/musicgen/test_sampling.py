from __future__ import annotations

from importlib.util import find_spec

import pytest

from mismo_grpc.audio.torchaudio_import import import_torchaudio

torch = pytest.importorskip("torch")
if find_spec("torchaudio") is not None:
    import_torchaudio()
ClassifierFreeGuidanceLogitsProcessor = pytest.importorskip(
    "transformers"
).ClassifierFreeGuidanceLogitsProcessor
sampling = pytest.importorskip("mismo_grpc.generation.musicgen.sampling")
SeededChoice, TOP_K = sampling.SeededChoice, sampling.TOP_K

NO_IDS = torch.zeros((1, 1), dtype=torch.long)


def chosen(choice, scores) -> int:
    return int(choice(NO_IDS, scores).argmax(-1)[0])


def test_tokens_are_drawn_with_their_probabilities() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    choice = SeededChoice(1.0, None, torch.Generator().manual_seed(3))
    drawn = [chosen(choice, probabilities.log()[None]) for _ in range(4000)]
    shares = torch.bincount(torch.tensor(drawn), minlength=4) / len(drawn)
    # Five standard errors.
    assert torch.allclose(shares, probabilities, atol=5 * (0.25 / 4000) ** 0.5)


def test_a_low_temperature_prefers_the_probable_and_0_takes_the_most_probable() -> None:
    scores = torch.tensor([[1.0, 2.0, 0.5]])
    shares = []
    for temperature in (2.0, 1.0, 0.3):
        choice = SeededChoice(temperature, None, torch.Generator().manual_seed(1))
        shares.append(sum(chosen(choice, scores) == 1 for _ in range(1000)))
    assert shares == sorted(shares)
    greedy = SeededChoice(0.0, None, torch.Generator())
    assert {chosen(greedy, scores) for _ in range(20)} == {1}


def test_only_the_most_probable_tokens_are_drawn() -> None:
    scores = torch.arange(1000, dtype=torch.float32)[None] * 1e-3
    choice = SeededChoice(2.0, None, torch.Generator().manual_seed(1))
    assert min(chosen(choice, scores) for _ in range(500)) >= 1000 - TOP_K


def test_the_guidance_that_transformers_applies_afterwards_changes_nothing() -> None:
    scores = torch.randn((8, 300), generator=torch.Generator().manual_seed(5))
    ours = SeededChoice(1.0, 3.0, torch.Generator().manual_seed(7))(NO_IDS, scores)
    after = ClassifierFreeGuidanceLogitsProcessor(3.0)(torch.zeros((4, 1), dtype=torch.long), ours)
    assert torch.equal(after, ours[:4])
    guided = ClassifierFreeGuidanceLogitsProcessor(3.0)(torch.zeros((4, 1), dtype=torch.long), scores)
    greedy = SeededChoice(0.0, 3.0, torch.Generator())(NO_IDS, scores)
    assert torch.allclose(greedy[:4], guided, atol=1e-5)
