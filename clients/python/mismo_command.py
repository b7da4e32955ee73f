"""The command `mismo` (also `python -m mismo_command`).

A module beside the package, for gRPC reads its log level while it is imported: by default it writes a line
for every server that goes away, which the command tells in its own words, or not at all where it goes on.
"""

from __future__ import annotations

import os


def main() -> None:
    """Entry point."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from mismo_client.command.cli import app

    app(prog_name="mismo")


if __name__ == "__main__":
    main()
