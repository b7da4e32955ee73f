"""The client's account of credit, beside the server's own: they agree whatever is sought and refused."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from mismo_client.transfer.stem_credit import CreditAccount, Window
from mismo_grpc.streaming.messages import Credit, Open, Seek
from mismo_grpc.streaming.stream_control import StreamControl

WINDOW = Window(100_000, buffer_frames=20_000)
END = 1_000_000
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("seek"), st.integers(0, END - 50_000)),
        st.tuples(st.just("seek past the end"), st.just(END)),
        st.tuples(st.sampled_from(["server looks at seeks", "client reads"]), st.just(0)),
        st.tuples(st.just("server sends audio"), st.integers(1, 20_000)),
        st.tuples(st.just("client takes audio"), st.integers(1, 20_000)),
    ),
    # No more seeks than the server keeps.
    max_size=32,
)


class Wire:
    """A client's account and a server's control, with the answers that are still on their way."""

    def __init__(self) -> None:
        self.account = CreditAccount(WINDOW)
        self.control = StreamControl(lambda: 0.0)
        opened = self.account.open(0)
        self.control.accept(Open("job", credit=Credit(opened.bytes, opened.frames)))
        self.account.begun(0, 0)
        self.answers: deque[tuple[str, int, int]] = deque()
        # Where the generation begins that the server sends.
        self.start = 0
        # Of the client: its generations, the newest last, and up to which frame each that has begun was taken.
        self.generations = [0]
        self.last_generation = 0
        self.taken = {0: 0}

    def do(self, kind: str, value: int) -> None:
        match kind:
            case "seek" | "seek past the end":
                self.last_generation += 1
                self.generations.append(self.last_generation)
                credit = self.account.seek(self.last_generation)
                self.control.accept(Seek(self.last_generation, value, Credit(credit.bytes, credit.frames)))
            case "server looks at seeks":
                self.look()
            case "server sends audio":
                size = min(value, self.control.bytes_left)
                self.control.bytes_left -= size
                self.answers.append(("audio", size, 0))
            case "client takes audio":
                self.take(value)
            case _:
                self.read()

    def look(self) -> None:
        done, refused = self.control.take_seeks(
            lambda seek: seek.start if isinstance(seek.start, int) and seek.start < END else None
        )
        if done is not None:
            self.start = done[1]
            self.answers.append(("begun", done[0].generation, done[1]))
        self.answers.extend(("refused", seek.generation, 0) for seek in refused)

    def read(self) -> None:
        if not self.answers:
            return
        kind, value, frame = self.answers.popleft()
        if kind == "audio":
            self.account.arrived(value)
        elif kind == "begun":
            self.account.begun(value, frame)
            self.taken[value] = frame
            self.generations = [generation for generation in self.generations if generation >= value]
        else:
            self.account.refused(value)
            self.generations.remove(value)

    def take(self, frames: int) -> None:
        generation = self.generations[-1]
        if generation in self.taken:
            self.taken[generation] += frames
        credit = self.account.due(self.taken.get(generation, 0))
        if credit is not None:
            self.control.accept(Credit(credit.bytes, credit.frames))

    def settle(self) -> None:
        self.look()
        while self.answers:
            self.read()


@given(STEPS)
def test_once_all_is_answered_the_server_holds_a_window_and_a_buffer_ahead(
    steps: list[tuple[str, int]],
) -> None:
    wire = Wire()
    for kind, value in steps:
        wire.do(kind, value)
        assert wire.control.bytes_left <= 2 * WINDOW.credit_bytes
    wire.settle()
    # All that was granted arrives, and enough is taken for a message.
    wire.do("server sends audio", wire.control.bytes_left)
    wire.settle()
    wire.take(50_000)
    assert wire.account.answered
    assert wire.control.bytes_left == WINDOW.credit_bytes
    assert wire.start + wire.control.frames == wire.taken[wire.generations[-1]] + 20_000
