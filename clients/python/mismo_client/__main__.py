"""`python -m mismo_client`: the command `mismo`."""

from __future__ import annotations

from mismo_client.cli import main

main()
