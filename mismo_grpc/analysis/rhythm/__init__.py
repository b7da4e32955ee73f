"""Finds beats, bars and tempo."""
