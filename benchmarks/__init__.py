"""Measures on a real server what the project promises (`make bench`)."""
