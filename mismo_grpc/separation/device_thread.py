"""The thread of a device: restarted after a crash, abandoned after several crashes in a short time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import structlog

log = structlog.get_logger(__name__)

MAX_CRASHES = 5
CRASHES_WITHIN_SECONDS = 60.0
"""After this many crashes within this time the device is abandoned."""
RESTART_SECONDS = 0.5
"""Wait before the first restart; doubles with each further crash within CRASHES_WITHIN_SECONDS."""


class DeviceThread:
    """Runs `serve` in a thread until it returns; runs it again after an exception.

    When the device is abandoned, `failure` gives the reason ("" before) and `on_abandoned` is called in this thread.
    """

    def __init__(
        self,
        name: str,
        serve: Callable[[], None],
        on_abandoned: Callable[[], None],
        *,
        restart_seconds: float = RESTART_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failure = ""
        self._name = name
        self._serve = serve
        self._on_abandoned = on_abandoned
        self._restart_seconds = restart_seconds
        self._clock = clock
        self._crashes: deque[float] = deque(maxlen=MAX_CRASHES)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"device {name}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Prevents restarts and waits at most `timeout` seconds for `serve` to return; returns whether it did."""
        self._stopping.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._serve()
                return
            # Any exception, also a library's SystemExit: without this thread nothing would be computed.
            except BaseException as error:
                self._crashed(error)
            if self.failure:
                self._on_abandoned()
                return
            self._stopping.wait(self._restart_seconds * 2 ** (self._recent_crashes() - 1))

    def _crashed(self, error: BaseException) -> None:
        self._crashes.append(self._clock())
        crashes = self._recent_crashes()
        if crashes >= MAX_CRASHES:
            self.failure = f"the thread of {self._name} crashed {crashes} times: {type(error).__name__}"
        with suppress(BaseException):  # If memory ran out, logging may fail too.
            if self.failure:
                log.critical(
                    "the device is abandoned; its jobs wait for the next start of the server",
                    device=self._name,
                    crashes=crashes,
                    exc_info=error,
                )
            else:
                log.error(
                    "a device thread crashed; it is restarted",
                    device=self._name,
                    crashes=crashes,
                    exc_info=error,
                )

    def _recent_crashes(self) -> int:
        begin = self._clock() - CRASHES_WITHIN_SECONDS
        return sum(moment > begin for moment in self._crashes)
