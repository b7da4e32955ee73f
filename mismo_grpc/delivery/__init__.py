"""Callbacks that survive a restart, and the guard that keeps them away from where they must not go."""
