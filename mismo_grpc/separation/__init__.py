"""Separates tracks: models, the segment grid, the scheduler, devices, and growing stem files."""
