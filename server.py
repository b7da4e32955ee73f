"""Starts the server: `python server.py --help`."""

from __future__ import annotations

import sys

from mismo_grpc.command import main

if __name__ == "__main__":
    sys.exit(main())
