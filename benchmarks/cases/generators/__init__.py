"""Cases that measure the generators of stems."""
