"""Uploads of tracks: growing files, checks, resumption, and bodies of unknown length."""
