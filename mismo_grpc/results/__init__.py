"""A run's folder, artifacts, waveforms, archives, and how long and how much of it is kept."""
