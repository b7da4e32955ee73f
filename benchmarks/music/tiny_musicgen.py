"""A MusicGen model of the real classes, small and with random weights: its audio is noise, its way is the real one."""

from __future__ import annotations

import string
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from mismo_grpc.audio.torchaudio_import import import_torchaudio

NAME = "musicgen-tiny"
CODES = 64


def save_tiny_musicgen(folder: Path, *, channels: int = 1) -> None:
    """Writes configuration, weights and tokenizer to a folder, as `from_pretrained` reads them."""
    if find_spec("torchaudio") is not None:
        import_torchaudio()
    import torch
    from transformers import (
        EncodecConfig,
        MusicgenConfig,
        MusicgenDecoderConfig,
        MusicgenForConditionalGeneration,
        T5Config,
        T5Tokenizer,
    )
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    text = T5Config(vocab_size=128, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    # As the published models: 50 code frames a second at 32,000 Hz, four codebooks, a decoder that looks ahead.
    audio = EncodecConfig(
        sampling_rate=32_000,
        audio_channels=1,
        num_filters=4,
        hidden_size=16,
        codebook_size=CODES,
        codebook_dim=16,
        num_lstm_layers=1,
        upsampling_ratios=[8, 5, 4, 4],
        target_bandwidths=[1.2],
        chunk_length_s=None,
        normalize=False,
        use_causal_conv=False,
        use_conv_shortcut=False,
    )
    decoder = MusicgenDecoderConfig(
        vocab_size=CODES,
        hidden_size=16,
        num_hidden_layers=2,
        ffn_dim=32,
        num_attention_heads=2,
        num_codebooks=4 * channels,
        audio_channels=channels,
        pad_token_id=CODES,
        bos_token_id=CODES,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = cast("Any", MusicgenForConditionalGeneration)(
            MusicgenConfig(text_encoder=text, audio_encoder=audio, decoder=decoder)
        )
        with torch.no_grad():
            # New codebooks are all zeros: every code would sound the same.
            for layer in model.audio_encoder.quantizer.layers:
                layer.codebook.embed.normal_()
            # New weights are small: all tokens would be about equally probable, whatever prompt and context are.
            for embedding in model.decoder.model.decoder.embed_tokens:
                embedding.weight.mul_(50)
            for block in model.decoder.model.decoder.layers:
                for attention in (block.self_attn, block.encoder_attn):
                    attention.v_proj.weight.mul_(20)
                    attention.out_proj.weight.mul_(20)
            for head in model.decoder.lm_heads:
                head.weight.mul_(20)
    settings = model.generation_config
    settings.guidance_scale, settings.do_sample, settings.max_length = 3.0, True, 1500
    settings.decoder_start_token_id = settings.pad_token_id = settings.bos_token_id = CODES
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    vocabulary += [(letter, -3.0) for letter in string.ascii_letters + string.digits]
    model.save_pretrained(str(folder))
    cast("Any", T5Tokenizer)(vocab=vocabulary, extra_ids=0).save_pretrained(str(folder))
