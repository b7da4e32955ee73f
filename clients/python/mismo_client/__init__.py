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
from mismo.analysis.v1.stage_pb2 import Stage, StageState
from mismo.analysis.v1.transfer_service_pb2 import NotReadyReason
from mismo_client.channel import ChannelOptions
from mismo_client.client import AsyncClient
from mismo_client.errors import (
    ChecksumError,
    ClientError,
    CursorExpiredError,
    FieldViolation,
    JobFailedError,
    JobIdActiveError,
    MismoRpcError,
    RunReplacedError,
    SeekRefusedError,
    StreamCorruptError,
    TrackChangedError,
)
from mismo_client.options import ClientOptions
from mismo_client.results import StageResult, stage_result
from mismo_client.retry import RetryPolicy
from mismo_client.stages import stage_name, stage_of
from mismo_client.submits import UploadedTrack
from mismo_client.sync import BlockingIterator, BlockingPlayer, BlockingReading, BlockingWaveform, Client
from mismo_client.transfer.player import StemPlayer
from mismo_client.transfer.reading import StemReading
from mismo_client.transfer.stem_events import (
    AwaitingCredit,
    EndOfStem,
    NotReady,
    SeekApplied,
    SeekRefused,
    StemChunk,
    StemEvent,
    StreamEnd,
)
from mismo_client.transfer.stem_format import StemFormat, wav_header
from mismo_client.transfer.waveform import WaveformFormat, WaveformRange, WaveformReading

__all__ = [
    "AsyncClient",
    "Client",
    "ClientOptions",
    "ChannelOptions",
    "RetryPolicy",
    "Encoding",
    "JobState",
    "Priority",
    "Stage",
    "StageState",
    "stage_of",
    "stage_name",
    "StageResult",
    "stage_result",
    "UploadedTrack",
    "StemPlayer",
    "StemReading",
    "StemFormat",
    "wav_header",
    "StemEvent",
    "StemChunk",
    "NotReady",
    "NotReadyReason",
    "AwaitingCredit",
    "SeekApplied",
    "SeekRefused",
    "EndOfStem",
    "StreamEnd",
    "WaveformReading",
    "WaveformFormat",
    "WaveformRange",
    "BlockingIterator",
    "BlockingPlayer",
    "BlockingReading",
    "BlockingWaveform",
    "ClientError",
    "MismoRpcError",
    "RunReplacedError",
    "JobIdActiveError",
    "CursorExpiredError",
    "FieldViolation",
    "JobFailedError",
    "SeekRefusedError",
    "StreamCorruptError",
    "ChecksumError",
    "TrackChangedError",
]
