"""Chooses MusicGen's tokens: with randomness of its own, and watched from outside.

This module imports torch and transformers; it is imported once a model is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from transformers import LogitsProcessor, StoppingCriteria

TOP_K = 250
"""The number of most probable tokens to choose from, as MusicGen's authors do."""
_NEVER = -1e9


class SeededChoice(LogitsProcessor):
    """Makes the most probable token of the scores the one that is drawn at random.

    The highest of logits with Gumbel noise is a sample of their distribution, so transformers can go on with its greedy
    choice. Unlike torch.multinomial, which it would use, that needs no global random state: other threads change
    nothing. With `guidance` above 1 the rows are those with the prompt and then those without it; they are combined
    here, and both halves get the same scores, so that the guidance that transformers applies afterwards has no effect.
    """

    def __init__(self, temperature: float, guidance: float | None, generator: torch.Generator) -> None:
        self._temperature = temperature
        self._guidance = guidance if guidance is not None and guidance > 1 else None
        self._generator = generator

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Maps scores [rows, vocabulary] to scores of the same shape."""
        scores = scores.float()
        if self._guidance is not None:
            prompted, free = scores.chunk(2)
            scores = free + (prompted - free) * self._guidance
        if self._temperature > 0:
            scores = scores / self._temperature
            least = scores.topk(min(TOP_K, scores.shape[-1])).values[:, -1:]
            # The noise is made on the processor: a seed then means the same on every device.
            noise = -torch.empty(scores.shape).exponential_(generator=self._generator).log()
            scores = torch.where(scores < least, _NEVER, scores + noise.to(scores.device))
        return scores if self._guidance is None else torch.cat([scores, scores])


class TokenWatch(StoppingCriteria):
    """Calls `on_token` after each step, which may raise to end the generation; keeps the tokens."""

    def __init__(self, on_token: Callable[[], None]) -> None:
        self._on_token = on_token
        self.tokens: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.BoolTensor:
        """Never stops by itself: [rows] of False."""
        self.tokens = input_ids
        self._on_token()
        return cast(
            "torch.BoolTensor", torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)
        )
