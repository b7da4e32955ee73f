"""What every test shares. Only what is true of all rooms belongs here; fixtures live beside their tests."""

from __future__ import annotations

from hypothesis import settings

# No example is timed: a busy machine is not a failure. What failed is printed so it can be replayed anywhere.
settings.register_profile("mismo", deadline=None, print_blob=True)
settings.load_profile("mismo")
