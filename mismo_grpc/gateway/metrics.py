"""Metrics for Prometheus: counters that events increment, and gauges that are read at each scrape."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import psutil
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mismo_grpc import __version__
from mismo_grpc.jobs.events import Event, EventKind
from mismo_grpc.jobs.job import Job, JobState, StageState, StageStatus
from mismo_grpc.separation.device import DeviceInfo

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT"})
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
SEGMENT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Gauges:
    """The values of the gauges at a scrape; sizes in bytes."""

    draining: bool
    separating: bool
    """False once nothing can be separated until a restart."""

    queued: int
    running: int
    retrying: int
    """Jobs that wait for another attempt, without a slot."""
    dead_letters: int
    """As of the last sweep."""
    queue_capacity: int
    segments_waiting: int
    streams_open: int
    uploads_open: int
    callbacks_sending: int
    model_warm: bool
    warm_models: tuple[str, ...]
    devices: tuple[DeviceInfo, ...]
    disk_free: int | None
    """None if the disk does not say."""
    disk_used_by_jobs: int
    """As of the last sweep."""
    disk_budget: int
    """0: no limit."""


class Metrics:
    """All metrics of one server; it has its own `registry`, so that two servers in a process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, namespace="mismo", registry=self.registry)
        histogram = partial(Histogram, namespace="mismo", registry=self.registry)
        self._ended = counter("jobs_ended", "Jobs that ended, by state", ["state"])
        self._accepted = counter("jobs_accepted", "Jobs that were accepted, by priority", ["priority"])
        self._stages = histogram(
            "stage_seconds", "Duration of a job's stage", ["stage", "state"], buckets=SECONDS
        )
        self._failures = counter("job_failures", "Jobs that failed, by reason (docs/errors.md)", ["reason"])
        self._stage_failures = counter(
            "stage_failures", "Stages that failed for good, by reason (docs/errors.md)", ["stage", "reason"]
        )
        self._retries = counter(
            "stage_retries", "Failed attempts of stages that are tried again", ["stage", "reason"]
        )
        self._first = histogram(
            "first_audio_seconds", "Time from submit to the first final frames", buckets=SECONDS
        )
        self._playhead = histogram(
            "playhead_audio_seconds", "From submit to the final frame at the playhead", buckets=SECONDS
        )
        self._segments = histogram(
            "segment_seconds", "Duration of one segment in the model", ["model"], buckets=SEGMENT_SECONDS
        )
        self._audio = counter("audio_seconds", "Seconds of tracks that were separated", ["model"])
        self._requests = counter(
            "http_requests", "HTTP requests that were answered, by method and status", ["method", "status"]
        )
        self._bytes = counter("bytes_sent", "Audio and results sent, by way", ["way"])
        self._callbacks = counter("callbacks", "Attempts of callbacks, by outcome", ["outcome"])
        ProcessCollector(registry=self.registry)
        for way in ("grpc", "websocket", "http", "callback"):
            self._bytes.labels(way)
        for outcome in ("delivered", "retried", "failed"):
            self._callbacks.labels(outcome)

    def on_accepted(self, job: Job) -> None:
        """Counts an accepted job, and its end if it reuses an earlier result and so has ended already."""
        self._accepted.labels(job.priority.name.lower()).inc()
        if job.state.ended:
            self._ended.labels(job.state.name.lower()).inc()

    def on_change(self, before: Job, job: Job, event: Event) -> None:
        """Counts what the change of a job means."""
        status = event.body
        if before.time_to_first_audio is None and job.time_to_first_audio is not None:
            self._first.observe(job.time_to_first_audio)
        if before.time_to_playhead_audio is None and job.time_to_playhead_audio is not None:
            self._playhead.observe(job.time_to_playhead_audio)
        if event.kind is EventKind.TERMINAL:
            self._ended.labels(job.state.name.lower()).inc()
            if job.state is JobState.FAILED and job.error is not None:
                self._failures.labels(job.error.reason).inc()
        elif isinstance(status, StageStatus):
            if status.next_attempt_at is not None and status.error is not None:
                self._retries.labels(status.stage.name.lower(), status.error.reason).inc()
            over = status.state not in (StageState.PENDING, StageState.RUNNING)
            if over and status.started_at is not None and status.ended_at is not None:
                labels = (status.stage.name.lower(), status.state.name.lower())
                self._stages.labels(*labels).observe(status.ended_at - status.started_at)
            if status.state is StageState.FAILED and status.error is not None:
                self._stage_failures.labels(status.stage.name.lower(), status.error.reason).inc()

    def on_segment(self, model: str, seconds: float, audio_seconds: float) -> None:
        """Records the duration of a segment and its share of the track, in seconds; can be called in any thread."""
        self._segments.labels(model).observe(seconds)
        self._audio.labels(model).inc(audio_seconds)

    def on_response(self, method: str, status: int) -> None:
        """Counts a response by the request's method and its status; unusual methods count as one."""
        self._requests.labels(method if method in METHODS else "other", str(status)).inc()

    def on_bytes(self, way: str, count: int) -> None:
        """Counts payload bytes sent by `way`: "grpc", "websocket", "http" or "callback"."""
        self._bytes.labels(way).inc(count)

    def on_callback(self, outcome: str) -> None:
        """Counts an attempt of a callback by its outcome: "delivered", "retried" or "failed"."""
        self._callbacks.labels(outcome).inc()

    def text(self, gauges: Gauges) -> bytes:
        """Returns all metrics in Prometheus' text format, with the given gauges."""
        registry = CollectorRegistry()
        registry.register(_GaugeCollector(gauges))
        return generate_latest(self.registry) + generate_latest(registry)


class _GaugeCollector(Collector):
    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        """See Collector."""
        seen = self._gauges
        jobs = GaugeMetricFamily("mismo_jobs", "Jobs that have not ended, by state", labels=["state"])
        jobs.add_metric(["queued"], seen.queued)
        jobs.add_metric(["running"], seen.running)
        jobs.add_metric(["retrying"], seen.retrying)
        yield jobs
        yield from _device_metrics(seen.devices)
        models = GaugeMetricFamily("mismo_warm_models", "1 for each model in memory", labels=["model"])
        for name in seen.warm_models:
            models.add_metric([name], 1)
        yield models
        build = GaugeMetricFamily("mismo_build_info", "1, with the server's version", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        for name, text, value in (
            ("mismo_dead_letters", "Failed jobs that can be replayed with their files", seen.dead_letters),
            ("mismo_queue_capacity", "Jobs that may be queued or running at once", seen.queue_capacity),
            ("mismo_segments_waiting", "Segments that wait for a device", seen.segments_waiting),
            ("mismo_streams_open", "Streams that are open, over gRPC and WebSocket", seen.streams_open),
            ("mismo_uploads_open", "Uploads that are being received in pieces", seen.uploads_open),
            ("mismo_callbacks_sending", "Callbacks that are being sent", seen.callbacks_sending),
            ("mismo_model_warm", "1 once the default model is in memory", int(seen.model_warm)),
            ("mismo_draining", "1 while the server stops and refuses jobs", int(seen.draining)),
            ("mismo_separating", "0 if nothing can be separated until a restart", int(seen.separating)),
            ("mismo_disk_free_bytes", "Free space in the jobs folder", seen.disk_free),
            (
                "mismo_disk_used_by_jobs_bytes",
                "Files of finished jobs, by the last sweep",
                seen.disk_used_by_jobs,
            ),
            ("mismo_disk_budget_bytes", "Most space for finished jobs; 0: no limit", seen.disk_budget),
            ("mismo_host_memory_bytes", "Memory of the machine", psutil.virtual_memory().total),
            ("mismo_host_cpu_cores", "Processors of the machine", os.cpu_count() or 1),
        ):
            if value is not None:
                yield GaugeMetricFamily(name, text, value=value)
        yield _cpu_seconds()


def _device_metrics(devices: Iterable[DeviceInfo]) -> Iterable[Metric]:
    known = GaugeMetricFamily(
        "mismo_device_info",
        "1 for each device, with what it is",
        labels=["device", "description", "precision"],
    )
    used = GaugeMetricFamily("mismo_device_memory_bytes", "Memory in use on a device", labels=["device"])
    total = GaugeMetricFamily(
        "mismo_device_memory_total_bytes", "Memory of a device; 0 if unknown", labels=["device"]
    )
    for device in devices:
        known.add_metric([device.name, device.description, device.precision], 1)
        used.add_metric([device.name], device.memory_used)
        total.add_metric([device.name], device.memory_total)
    return (known, used, total)


def _cpu_seconds() -> Metric:
    """The time of all processors; analyses run in other processes, so the time of the server's own is not enough."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    family = CounterMetricFamily(
        "mismo_host_cpu_seconds", "Time of the machine's processors, busy or idle", labels=["mode"]
    )
    family.add_metric(["idle"], idle)
    # guest time is in user time already.
    guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    family.add_metric(["busy"], max(0.0, sum(times) - idle - guest))
    return family
