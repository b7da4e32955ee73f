"""The analyses of a track as stages, one module for each."""
