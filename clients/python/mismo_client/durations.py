"""Seconds as protobuf durations and back."""

from __future__ import annotations

from google.protobuf import duration_pb2, timestamp_pb2


def duration(seconds: float | None) -> duration_pb2.Duration | None:
    """None stays unset."""
    if seconds is None:
        return None
    message = duration_pb2.Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


def seconds_of(message: duration_pb2.Duration) -> float:
    """As a float."""
    return message.ToNanoseconds() / 1e9


def seconds_between(start: timestamp_pb2.Timestamp, end: timestamp_pb2.Timestamp) -> float:
    """From one moment to a later one."""
    return (end.ToNanoseconds() - start.ToNanoseconds()) / 1e9
