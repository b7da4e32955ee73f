"""Starts the server: `mismo-server --help`, or `python -m mismo_grpc --help`."""

from __future__ import annotations

import os
import sys

# gRPC reads its log level when it is imported; at INFO it logs every client that disconnects.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from mismo_grpc.command import main

if __name__ == "__main__":
    sys.exit(main())
