"""The thread of a device: restarted when it dies, given up when it dies again and again."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import structlog

log = structlog.get_logger(__name__)

MAX_DEATHS = 5
DEATHS_WITHIN_SECONDS = 60.0
"""So many deaths in so short a time are not put down to chance: the device is given up."""
RESTART_SECONDS = 0.5
"""Before the first restart; doubles with each further death within DEATHS_WITHIN_SECONDS."""


class DeviceThread:
    """Runs `serve` until it returns; after what escapes it, anew.

    `failure` says why it was given up, "" as long as it was not; `on_given_up` is called then, in this thread.
    """

    def __init__(
        self,
        name: str,
        serve: Callable[[], None],
        on_given_up: Callable[[], None],
        *,
        restart_seconds: float = RESTART_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failure = ""
        self._name = name
        self._serve = serve
        self._on_given_up = on_given_up
        self._restart_seconds = restart_seconds
        self._clock = clock
        self._deaths: deque[float] = deque(maxlen=MAX_DEATHS)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"device {name}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Starts it no more, waits at most `timeout` seconds for `serve` to return; answers whether it did."""
        self._stopping.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._serve()
                return
            # Whatever it is, SystemExit of a library too: without this thread nothing would be computed.
            except BaseException as error:
                self._died(error)
            if self.failure:
                self._on_given_up()
                return
            self._stopping.wait(self._restart_seconds * 2 ** (self._recent_deaths() - 1))

    def _died(self, error: BaseException) -> None:
        self._deaths.append(self._clock())
        deaths = self._recent_deaths()
        if deaths >= MAX_DEATHS:
            self.failure = f"the thread of {self._name} died {deaths} times: {type(error).__name__}"
        with suppress(BaseException):  # Where memory ran out, the log may fail as well.
            if self.failure:
                log.critical(
                    "the device is given up; its jobs wait for the next start of the server",
                    device=self._name,
                    deaths=deaths,
                    exc_info=error,
                )
            else:
                log.error(
                    "a device thread died; it is restarted", device=self._name, deaths=deaths, exc_info=error
                )

    def _recent_deaths(self) -> int:
        begin = self._clock() - DEATHS_WITHIN_SECONDS
        return sum(moment > begin for moment in self._deaths)
