"""The generator "musicgen": MusicGen of the package transformers, which the extra `generation` installs."""
