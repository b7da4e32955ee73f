"""The calls of an app server that keeps its tracks in a blob container."""
