"""CRC-32C, the checksum of every chunk."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import google_crc32c

# The library's own types are known in part only.
crc32c = cast("Callable[[bytes], int]", google_crc32c.value)
