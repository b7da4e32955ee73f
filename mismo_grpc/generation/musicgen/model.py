"""A loaded MusicGen model: generates windows of audio that continue earlier ones.

This module imports torch and transformers; it is imported once a model is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from mismo_grpc.audio.torchaudio_import import import_torchaudio
from mismo_grpc.errors import ModelLoadError, OutOfMemoryError

_MAX_PROMPT_TOKENS = 512


@dataclass(frozen=True)
class Window:
    """`codes` (codebooks, code frames) and their `audio` (channels, samples), both with the context at the front."""

    codes: torch.Tensor
    audio: NDArray[np.float32]


class LoadedMusicgen:
    """A MusicGen model and its tokenizer on a device. Not thread-safe."""

    def __init__(self, folder: Path, device: str) -> None:
        """Loads both from a folder; raises ModelLoadError or OutOfMemoryError."""
        if find_spec("torchaudio") is not None:
            # transformers imports it if it is installed, whether or not its extension can be loaded.
            import_torchaudio()
        from transformers import AutoTokenizer, MusicgenForConditionalGeneration
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            self._tokenizer = cast("Any", AutoTokenizer).from_pretrained(str(folder), local_files_only=True)
            model = cast("Any", MusicgenForConditionalGeneration).from_pretrained(
                str(folder), local_files_only=True
            )
            self._model = model.to(device).eval()
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise OutOfMemoryError("there is not enough memory to load MusicGen; try again later") from error
        except Exception as error:  # of broken files, in many classes
            raise ModelLoadError(
                f"{folder.name} cannot be loaded as a MusicGen model: {type(error).__name__}"
            ) from error
        decoder = self._model.config.decoder
        self.codebooks = int(decoder.num_codebooks)
        self.channels = int(decoder.audio_channels)
        self.sample_rate = int(self._model.config.audio_encoder.sampling_rate)
        self.code_rate = float(self._model.config.audio_encoder.frame_rate)
        """Code frames a second."""
        self._guidance = cast("float | None", self._model.generation_config.guidance_scale)

    @property
    def samples_of_code(self) -> int:
        """Samples of a code frame."""
        return round(self.sample_rate / self.code_rate)

    @property
    def extra_steps(self) -> int:
        """Steps that a window needs beside one for each code frame: each codebook is one step behind the one before."""
        return self.codebooks // self.channels - 1

    def generate(
        self,
        prompt: str,
        context: torch.Tensor | None,
        frames: int,
        temperature: float,
        generator: torch.Generator,
        on_token: Callable[[], None],
    ) -> Window:
        """Generates `frames` code frames after the context (codebooks, code frames).

        Calls `on_token` `frames` + `extra_steps` times; what it raises ends the generation.
        Raises OutOfMemoryError.
        """
        from transformers import LogitsProcessorList, StoppingCriteriaList

        from mismo_grpc.generation.musicgen.sampling import SeededChoice, TokenWatch

        device = self._model.device
        inputs = self._tokenizer(
            [prompt], truncation=True, max_length=_MAX_PROMPT_TOKENS, return_tensors="pt"
        )
        watch = TokenWatch(on_token)
        given = {} if context is None else {"decoder_input_ids": context.to(device)}
        try:
            audio = self._model.generate(
                input_ids=inputs["input_ids"].to(device),
                attention_mask=inputs["attention_mask"].to(device),
                do_sample=False,
                max_new_tokens=frames + self.extra_steps,
                logits_processor=LogitsProcessorList([SeededChoice(temperature, self._guidance, generator)]),
                stopping_criteria=StoppingCriteriaList([watch]),
                **given,
            )
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise OutOfMemoryError(
                "there was not enough memory to generate audio; try again later"
            ) from error
        assert watch.tokens is not None
        known = 0 if context is None else int(context.shape[1])
        new = self._aligned(watch.tokens.cpu(), known, frames)
        codes = new if context is None else torch.cat([context, new], dim=1)
        return Window(codes, np.asarray(audio[0].float().cpu().numpy(), dtype=np.float32))

    def _aligned(self, tokens: torch.Tensor, known: int, frames: int) -> torch.Tensor:
        """Undoes the delays of the codebooks: returns the new codes of (codebooks, 1 + steps) tokens."""
        rows: list[torch.Tensor] = []
        for codebook in range(self.codebooks):
            # One token for the start, then one step of delay for each codebook of the same channel before it.
            first = 1 + codebook // self.channels + known
            rows.append(tokens[codebook, first : first + frames])
        return torch.stack(rows)
