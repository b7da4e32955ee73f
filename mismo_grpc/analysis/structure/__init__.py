"""What a track is made of, bar by bar: spectra, loudness, novelty, segments and their labels."""
