"""Client of the analysis server: submit a track, watch it, play its stems while they are made.

    async with AsyncClient("127.0.0.1:50051") as client:
        job = (await client.submit("/music/track.flac", playhead=90)).job
        async with client.stream_stems(job.job_id, follow=True) as player:
            async for chunk in player:
                ...

`Client` is the same without async. Jobs, events and the like are the messages of `mismo.analysis.v1`.
"""

from __future__ import annotations

from mismo.analysis.v1.audio_pb2 import Encoding
from mismo.analysis.v1.job_pb2 import JobState, Priority
from mismo_client.channel import ChannelOptions
from mismo_client.client import AsyncClient
from mismo_client.errors import (
    ClientError,
    FieldViolation,
    JobChangedError,
    JobFailedError,
    MismoRpcError,
    StreamCorruptError,
    TrackChangedError,
)
from mismo_client.jobs import UploadedTrack
from mismo_client.options import ClientOptions
from mismo_client.reading import StemReading
from mismo_client.retry import RetryPolicy
from mismo_client.stem_format import StemFormat, wav_header
from mismo_client.stems import StemChunk, StemPlayer
from mismo_client.sync import BlockingIterator, BlockingPlayer, BlockingReading, Client

__all__ = [
    "AsyncClient",
    "Client",
    "ClientOptions",
    "ChannelOptions",
    "RetryPolicy",
    "Encoding",
    "JobState",
    "Priority",
    "UploadedTrack",
    "StemPlayer",
    "StemReading",
    "StemChunk",
    "StemFormat",
    "wav_header",
    "BlockingIterator",
    "BlockingPlayer",
    "BlockingReading",
    "ClientError",
    "MismoRpcError",
    "FieldViolation",
    "JobFailedError",
    "JobChangedError",
    "StreamCorruptError",
    "TrackChangedError",
]
