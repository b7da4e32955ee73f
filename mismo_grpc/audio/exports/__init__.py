"""Writes finished stems in other formats: FLAC, MP3, and NI STEM files."""
