"""Tracks coming in: parts, checks, resumption, and bodies of unknown length."""
