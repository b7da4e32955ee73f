"""The structure of a track: spectra, energy, units of time, segments with their labels, and phrases."""
