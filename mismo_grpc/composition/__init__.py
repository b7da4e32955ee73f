"""Builds the parts of the server from its settings, one module a group of parts."""
