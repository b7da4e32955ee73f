"""Downloads the checkpoint of beat_this into the cache of torch hub."""

from __future__ import annotations

import os
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

from mismo_grpc.analysis.rhythm.beat_this_tracker import CHECKPOINT_NAMES, hub_folder

URL = "https://cloud.cp.jku.at/public.php/dav/files/7ik4RrBKTS273gp/final0.ckpt"
"""The checkpoint "final0", where its authors publish it (https://github.com/CPJKU/beat_this); licence: MIT."""
SILENCE_SECONDS = 10.0
"""How long the server may send nothing."""
MAX_BYTES = 1 << 30
BLOCK_BYTES = 1 << 20


def download_checkpoint(report: Callable[[str], None], *, url: str = URL) -> Path | None:
    """Downloads the checkpoint and returns its path; on failure calls `report`, leaves no file and returns None.

    Blocks, for long if the server cannot be reached; called in the background only.
    """
    target = hub_folder() / CHECKPOINT_NAMES[0]
    partial: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".beat_this-", suffix=".part")
        partial = Path(name)
        with (
            os.fdopen(descriptor, "wb") as file,
            urllib.request.urlopen(url, timeout=SILENCE_SECONDS) as body,
        ):
            while block := body.read(BLOCK_BYTES):
                file.write(block)
                if file.tell() > MAX_BYTES:
                    raise ValueError("the file is too large")
            file.flush()
            os.fsync(file.fileno())
        if not zipfile.is_zipfile(partial):
            raise ValueError("the file is no checkpoint")
        partial.replace(target)
        return target
    except (OSError, ValueError, HTTPException) as error:
        report(f"the checkpoint of beat_this could not be downloaded: {type(error).__name__}")
        return None
    finally:
        if partial is not None:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
