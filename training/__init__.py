"""Trains mismo_lite, the small embedded separation model. Not needed to run a server."""
