"""The server around the services: health, reflection, limits, start and stop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from mismo.analysis.v1 import job_pb2, job_service_pb2, system_service_pb2
from mismo_grpc.rpc.server import MODEL_HEALTH, GrpcServer
from tests.unit.rpc.conftest import DONE, Served
from tests.unit.rpc.wire import drained, refused

pytestmark = pytest.mark.service

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICES = {
    "mismo.analysis.v1.JobService": {
        "SubmitJob",
        "GetJob",
        "ListJobs",
        "WatchJob",
        "WatchJobs",
        "CancelJob",
        "CompareTracks",
        "ReplayJob",
        "UpdateJob",
        "DeleteJob",
    },
    "mismo.analysis.v1.TransferService": {
        "UploadAudio",
        "GetUpload",
        "StreamStems",
        "ReadStem",
        "ReadWaveform",
        "GetArtifact",
        "CreateBlobLink",
    },
    "mismo.analysis.v1.SystemService": {"GetServerInfo", "ListModels", "ListStages", "WatchResources"},
}


async def test_reflection_lists_and_describes_every_service(served: Served) -> None:
    # The stub's types know neither the channel of asyncio nor what its methods take.
    stub = reflection_pb2_grpc.ServerReflectionStub(cast("Any", served.channel))
    call = cast("Any", stub).ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    names = {service.name for service in (await call.read()).list_services_response.service}
    assert names == {*SERVICES, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    for name, methods in SERVICES.items():
        await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=name))
        answer = await call.read()
        files = map(FileDescriptorProto.FromString, answer.file_descriptor_response.file_descriptor_proto)
        services = {f"{file.package}.{service.name}": service for file in files for service in file.service}
        assert {method.name for method in services[name].method} == methods
    await call.done_writing()


async def test_health_tells_jobs_and_the_model_apart(served: Served) -> None:
    stub = cast("Any", health_pb2_grpc.HealthStub(served.channel))
    for name in ("", *SERVICES):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == SERVING, name
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Check(health_pb2.HealthCheckRequest(service="mismo.Other"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=MODEL_HEALTH))
    seen = [(await watch.read()).status]
    while seen[-1] != SERVING:
        seen.append((await watch.read()).status)
    watch.cancel()
    assert seen in ([SERVING], [NOT_SERVING, SERVING])


async def test_two_servers_cannot_share_a_port(served: Served) -> None:
    app = served.app
    settings = app.settings.model_copy(update={"grpc_port": app.grpc_port})
    second = GrpcServer(
        app.jobs,
        app.uploads,
        app.status,
        settings,
        on_bytes=lambda _way, _count: None,
        check_url=lambda url, field: None,
    )
    with pytest.raises(RuntimeError):
        await second.start()


async def test_a_request_above_the_limit_is_refused(served: Served) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.jobs.GetJob(job_service_pb2.GetJobRequest(job_id="x" * (5 << 20)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_draining_ends_streams_and_refuses_jobs_but_still_answers(served: Served) -> None:
    watch = served.system.WatchResources(system_service_pb2.WatchResourcesRequest())
    await watch.read()
    await served.app.server.drain(0.0)
    refusal = await refused(drained(watch))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")
    assert refusal.retry_seconds is not None

    served.app.jobs.refuse()
    submit = job_service_pb2.SubmitJobRequest(source=job_pb2.Source(path=str(served.track)))
    refusal = await refused(served.jobs.SubmitJob(submit))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")
    stub = cast("Any", health_pb2_grpc.HealthStub(served.channel))
    assert (await stub.Check(health_pb2.HealthCheckRequest())).status == NOT_SERVING
    answer = await served.jobs.GetJob(job_service_pb2.GetJobRequest(job_id=DONE))
    assert answer.job.job_id == DONE
    info = await served.system.GetServerInfo(system_service_pb2.GetServerInfoRequest())
    assert info.draining


async def test_open_streams_are_bounded(serve: Callable[..., Awaitable[Served]]) -> None:
    served = await serve(max_streams=1)
    watch = served.system.WatchResources(system_service_pb2.WatchResourcesRequest())
    await watch.read()
    refusal = await refused(drained(served.jobs.WatchJob(job_service_pb2.WatchJobRequest(job_id=DONE))))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS")
    watch.cancel()
    await served.app.server.streams.wait_none()
    events = await drained(served.jobs.WatchJob(job_service_pb2.WatchJobRequest(job_id=DONE)))
    assert events[-1].WhichOneof("event") == "terminal"
