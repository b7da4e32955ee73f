"""`launch.py BOOT_ID_FILE ARGUMENTS...`: runs the server, which reads its boot id from a file of the test."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from mismo_grpc.command import main
from mismo_grpc.storage import boot

if __name__ == "__main__":
    boot.BOOT_ID_FILE = Path(sys.argv.pop(1))
    sys.exit(main())
