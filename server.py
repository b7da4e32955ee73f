"""Starts the server from a checkout, as the installed `mismo-server` does: `python server.py --help`."""

from __future__ import annotations

import sys

from mismo_grpc.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
