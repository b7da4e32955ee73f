"""Stems in other formats, into files."""
