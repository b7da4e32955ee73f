"""SystemService over the wire."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration

from mismo.analysis.v1 import audio_pb2
from mismo.analysis.v1 import system_service_pb2 as pb
from mismo_grpc import __version__
from tests.unit.rpc.conftest import Served
from tests.unit.rpc.wire import drained, next_of, refused

pytestmark = pytest.mark.service


async def test_the_server_says_what_it_is(served: Served) -> None:
    info = await served.system.GetServerInfo(pb.GetServerInfoRequest())
    settings = served.app.settings
    assert info.version == __version__
    assert info.server_epoch == served.app.epoch
    assert info.default_model == "mismo_lite"
    assert (info.queue_depth, info.queue_capacity) == (0, settings.queue_capacity)
    assert info.limits.max_streams == settings.max_streams
    assert info.limits.max_upload_bytes == settings.max_upload_bytes
    assert info.limits.max_chunk_bytes == 1 << 20
    assert info.limits.default_result_ttl == Duration(seconds=24 * 3600)
    assert info.limits.stream_idle_timeout.ToTimedelta().total_seconds() == settings.stream_idle_seconds
    assert info.limits.min_keepalive_interval == Duration(seconds=10)
    assert list(info.encodings) == [
        audio_pb2.ENCODING_PCM_S16LE,
        audio_pb2.ENCODING_PCM_S24LE,
        audio_pb2.ENCODING_PCM_F32LE,
        audio_pb2.ENCODING_FLAC,
    ]
    assert not info.draining


async def test_models_are_told_with_what_can_be_done_about_them(served: Served) -> None:
    models = {model.name: model for model in (await served.system.ListModels(pb.ListModelsRequest())).models}
    lite = models["mismo_lite"]
    assert lite.is_default
    assert lite.state in (pb.MODEL_STATE_WARM, pb.MODEL_STATE_AVAILABLE)
    assert lite.sample_rate == 44_100
    assert set(lite.stem_names) == {"drums", "bass", "other", "vocals"}
    for model in models.values():
        assert model.state != pb.MODEL_STATE_UNSPECIFIED
        if model.state == pb.MODEL_STATE_UNAVAILABLE:
            assert model.reason


async def test_resources_are_sampled_until_the_client_leaves(served: Served) -> None:
    watch = served.system.WatchResources(pb.WatchResourcesRequest(interval=Duration(nanos=100_000_000)))
    samples = [await next_of(watch) for _ in range(3)]
    watch.cancel()
    times = [sample.time.ToNanoseconds() for sample in samples]
    assert times == sorted(set(times))
    for sample in samples:
        assert sample.memory_used_bytes > 0
        assert sample.memory_total_bytes > sample.memory_used_bytes
        assert sample.disk_free_bytes > 0
        assert 0 <= sample.cpu_utilization <= 1
    await served.app.server.streams.wait_none()


@pytest.mark.parametrize("interval", [Duration(nanos=1), Duration(seconds=61), Duration(seconds=-1)])
async def test_the_interval_has_bounds(served: Served, interval: Duration) -> None:
    refusal = await refused(
        drained(served.system.WatchResources(pb.WatchResourcesRequest(interval=interval)))
    )
    assert refusal.fields == ("interval",)
