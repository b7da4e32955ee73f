"""Generates songs: a composer, and the voices that play its compositions."""
