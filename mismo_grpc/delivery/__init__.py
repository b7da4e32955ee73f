"""Delivers callbacks, which survive a restart, and refuses addresses that no callback may go to."""
