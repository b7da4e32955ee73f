"""The same client for programs without an event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar

from mismo_client.client import AsyncClient
from mismo_client.loop_thread import LoopThread
from mismo_client.options import ClientOptions
from mismo_client.transfer.player import StemPlayer
from mismo_client.transfer.reading import StemReading
from mismo_client.transfer.stem_events import StemChunk, StemEvent
from mismo_client.transfer.stem_format import StemFormat
from mismo_client.transfer.waveform import WaveformFormat, WaveformRange, WaveformReading

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class ClosableIterator(Protocol[T_co]):
    """An async iterator that can be ended early."""

    def __aiter__(self) -> AsyncIterator[T_co]: ...

    def __anext__(self) -> Awaitable[T_co]: ...

    def aclose(self) -> Coroutine[Any, Any, None]:
        """Ends it."""
        ...


class BlockingIterator(Iterator[T]):
    """An async iterator, read by a thread that waits for each item. Close it to end it early."""

    def __init__(self, loop: LoopThread, items: ClosableIterator[T]) -> None:
        self._loop = loop
        self._items = items

    async def _next(self) -> tuple[T] | None:
        # A coroutine cannot raise StopIteration, so the end is a value.
        async for item in self._items:
            return (item,)
        return None

    def __next__(self) -> T:
        item = self._loop.run(self._next())
        if item is None:
            raise StopIteration
        return item[0]

    def close(self) -> None:
        """Ends it; the job lives on."""
        self._loop.run(self._items.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class BlockingReading(BlockingIterator[StemChunk]):
    """One stem; see StemReading."""

    def __init__(self, loop: LoopThread, reading: StemReading) -> None:
        super().__init__(loop, reading)
        self.reading = reading

    def format(self) -> StemFormat:
        """The stem's form; waits for it."""
        return self._loop.run(self.reading.format())

    def frames(self) -> tuple[int, int]:
        """First frame, and first frame after the part that is read; waits for the form."""
        return self._loop.run(self.reading.frames())


class BlockingWaveform(BlockingIterator[WaveformRange]):
    """Peaks of stems; see WaveformReading."""

    def __init__(self, loop: LoopThread, reading: WaveformReading) -> None:
        super().__init__(loop, reading)
        self.reading = reading

    def format(self) -> WaveformFormat:
        """The form of the peaks; waits for it."""
        return self._loop.run(self.reading.format())


class BlockingPlayer(BlockingIterator[StemChunk]):
    """Stems with seek; see StemPlayer. One thread reads, any may seek."""

    def __init__(self, loop: LoopThread, player: StemPlayer) -> None:
        super().__init__(loop, player)
        self.player = player

    def format(self) -> StemFormat:
        """The stems' form; waits until the track is decoded."""
        return self._loop.run(self.player.format())

    def events(self) -> BlockingIterator[StemEvent]:
        """Everything that the stream brings, in place of iterating over the player itself."""
        return BlockingIterator(self._loop, self.player.events())

    def seek(self, frame: int | None = None, *, time: float | None = None) -> int:
        """Goes on at `frame`, or at `time` in seconds; what is on its way is dropped. See StemPlayer.seek."""
        return self._loop.run(self.player.seek(frame, time=time))


def _blocking(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Client, P], T]:
    @wraps(method)
    def call(self: Client, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.loop.run(method(self.client, *args, **kwargs))

    return call


def _iterating(
    method: Callable[Concatenate[AsyncClient, P], ClosableIterator[T]],
) -> Callable[Concatenate[Client, P], BlockingIterator[T]]:
    @wraps(method)
    def call(self: Client, *args: P.args, **kwargs: P.kwargs) -> BlockingIterator[T]:
        return BlockingIterator(self.loop, method(self.client, *args, **kwargs))

    return call


def _playing(
    method: Callable[Concatenate[AsyncClient, P], StemPlayer],
) -> Callable[Concatenate[Client, P], BlockingPlayer]:
    @wraps(method)
    def call(self: Client, *args: P.args, **kwargs: P.kwargs) -> BlockingPlayer:
        return BlockingPlayer(self.loop, method(self.client, *args, **kwargs))

    return call


def _reading(
    method: Callable[Concatenate[AsyncClient, P], StemReading],
) -> Callable[Concatenate[Client, P], BlockingReading]:
    @wraps(method)
    def call(self: Client, *args: P.args, **kwargs: P.kwargs) -> BlockingReading:
        return BlockingReading(self.loop, method(self.client, *args, **kwargs))

    return call


def _drawing(
    method: Callable[Concatenate[AsyncClient, P], WaveformReading],
) -> Callable[Concatenate[Client, P], BlockingWaveform]:
    @wraps(method)
    def call(self: Client, *args: P.args, **kwargs: P.kwargs) -> BlockingWaveform:
        return BlockingWaveform(self.loop, method(self.client, *args, **kwargs))

    return call


class Client:
    """AsyncClient, method for method, over an event loop in a thread of its own.

    A context manager; may be shared by threads. Callbacks (`on_progress`, `on_expired`) are called in that thread.
    """

    def __init__(self, target: str, *, options: ClientOptions | None = None) -> None:
        async def open_client() -> AsyncClient:
            # A channel belongs to the loop that it was made on.
            return AsyncClient(target, options=options)

        self.loop = LoopThread()
        self.client = self.loop.run(open_client())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all calls and the thread; jobs live on. Closing again does nothing."""
        if self.loop.alive:
            self.loop.run(self.client.aclose())
            self.loop.close()

    submit = _blocking(AsyncClient.submit)
    generate = _blocking(AsyncClient.generate)
    get = _blocking(AsyncClient.get)
    list = _iterating(AsyncClient.list)
    cancel = _blocking(AsyncClient.cancel)
    update = _blocking(AsyncClient.update)
    delete = _blocking(AsyncClient.delete)
    replay = _blocking(AsyncClient.replay)
    compare_tracks = _blocking(AsyncClient.compare_tracks)
    watch = _iterating(AsyncClient.watch)
    watch_jobs = _iterating(AsyncClient.watch_jobs)
    wait = _blocking(AsyncClient.wait)
    upload = _blocking(AsyncClient.upload)
    get_upload = _blocking(AsyncClient.get_upload)
    stream_stems = _playing(AsyncClient.stream_stems)
    stem = _playing(AsyncClient.stem)
    read_stem = _reading(AsyncClient.read_stem)
    read_waveform = _drawing(AsyncClient.read_waveform)
    artifact = _blocking(AsyncClient.artifact)
    create_blob_link = _blocking(AsyncClient.create_blob_link)
    info = _blocking(AsyncClient.info)
    models = _blocking(AsyncClient.models)
    stages = _blocking(AsyncClient.stages)
    watch_resources = _iterating(AsyncClient.watch_resources)
