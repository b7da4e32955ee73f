"""Metrics for Prometheus: counters that events increment, and gauges that are read at each scrape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mismo_grpc.jobs.events import Event, EventKind
from mismo_grpc.jobs.job import Job, StageState, StageStatus

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
SEGMENT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Gauges:
    """The values of the gauges at a scrape; cheap to read, on the event loop. Memory in bytes by device name."""

    queued: int
    running: int
    retrying: int
    """Jobs that wait for another attempt, without a slot."""
    dead_letters: int
    """As of the last sweep."""
    queue_capacity: int
    segments_waiting: int
    streams_open: int
    model_warm: bool
    device_memory: Mapping[str, int]


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
        self._bytes = counter("bytes_sent", "Audio and results sent, by way", ["way"])
        self._callbacks = counter("callbacks", "Attempts of callbacks, by outcome", ["outcome"])
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
        elif isinstance(status, StageStatus):
            if status.next_attempt_at is not None and status.error is not None:
                self._retries.labels(status.stage.name.lower(), status.error.reason).inc()
            over = status.state not in (StageState.PENDING, StageState.RUNNING)
            if over and status.started_at is not None and status.ended_at is not None:
                labels = (status.stage.name.lower(), status.state.name.lower())
                self._stages.labels(*labels).observe(status.ended_at - status.started_at)

    def on_segment(self, model: str, seconds: float) -> None:
        """Records the duration of a segment; can be called in any thread."""
        self._segments.labels(model).observe(seconds)

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
        memory = GaugeMetricFamily(
            "mismo_device_memory_bytes", "Memory in use on a device", labels=["device"]
        )
        for name, used in seen.device_memory.items():
            memory.add_metric([name], used)
        yield memory
        for name, text, value in (
            ("mismo_dead_letters", "Failed jobs that can be replayed with their files", seen.dead_letters),
            ("mismo_queue_capacity", "Jobs that may be queued or running at once", seen.queue_capacity),
            ("mismo_segments_waiting", "Segments that wait for a device", seen.segments_waiting),
            ("mismo_streams_open", "Streams that are open, over gRPC and WebSocket", seen.streams_open),
            ("mismo_model_warm", "1 once the default model is in memory", int(seen.model_warm)),
        ):
            yield GaugeMetricFamily(name, text, value=value)
