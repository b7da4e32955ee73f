"""Tuning, chroma and key of music, by numpy alone."""
