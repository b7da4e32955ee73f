"""Moves audio and files: tracks in, stems, waveforms and artifacts out."""
