"""Analyses of a track: one typed callable each, and the pool of processes that runs them."""
