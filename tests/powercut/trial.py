"""Checks the jobs, uploads and callbacks of an interrupted server against the responses that its clients got.

Clients do what the docs advise: they repeat every request without a response, with the same request_id. Every response
is a promise, which is checked after each start of the server, and byte by byte at the end.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from mismo.analysis.v1 import job_pb2
from mismo.analysis.v1 import transfer_service_pb2 as transfer_pb2
from tests.powercut.results import (
    ANNOTATION,
    TRACKS,
    WANTED,
    Result,
    container_in,
    difference,
    faults_of_blobs,
    loudness_of,
    result_of,
    with_junk,
)
from tests.support.calls import (
    CANCELLED,
    FAILED,
    PCM_F32LE,
    SUCCEEDED,
    Client,
    new_id,
    upload_chunk,
    upload_finish,
    upload_header,
)
from tests.support.process import ServerProcess
from tests.unit.delivery.receiver import Receiver, Visit

SETTINGS = {"max_concurrent_jobs": 2, "callback_retries": 30, "callback_retry_delay": 0.05}
LONGEST_WAIT_SECONDS = 3.0
"""The longest wait in seconds until an interruption at a random moment."""
PATIENCE_SECONDS = 90.0
CHUNK_BYTES = 1 << 16

Moment = str | float
"""When to interrupt: a fact that a client gets, or seconds since the model was loaded (below 0: since the start)."""


class Notes(dict[str, list[str]]):
    """Observations by job, each only once."""

    def add(self, job: str, text: str) -> None:
        texts = self.setdefault(job, [])
        if text not in texts:
            texts.append(text)


@dataclass
class Findings:
    """The faults that were found, by job.

    `wrong`: bytes differ from the right ones. `lost`: something that a client was told is not true any more.
    `failed`: the job ended in another state than SUCCEEDED.
    """

    interruptions: int = 0
    jobs: int = 0
    wrong: Notes = field(default_factory=Notes)
    lost: Notes = field(default_factory=Notes)
    failed: Notes = field(default_factory=Notes)

    @property
    def none(self) -> bool:
        return not (self.wrong or self.lost or self.failed)

    def __str__(self) -> str:
        counts = f"{len(self.wrong)} wrong, {len(self.lost)} lost, {len(self.failed)} failed"
        lines = [f"{self.jobs} jobs, {self.interruptions} interruptions: {counts}"]
        for kind, notes in (("wrong", self.wrong), ("lost", self.lost), ("failed", self.failed)):
            lines += [f"  {kind}: {job} {'; '.join(texts)}" for job, texts in notes.items()]
        return "\n".join(lines)


@dataclass
class Submitted:
    """What a client knows of its job, across all restarts of the server."""

    name: str
    track: str
    request_id: str = field(default_factory=new_id)
    upload: bytes = b""
    upload_id: str = ""
    upload_sha256: str = ""
    uploaded: bool = False
    accepted: bool = False
    measured: bool = False
    """A callback told the loudness, perhaps before the stems are done."""
    succeeded: bool = False
    deleting: bool = False
    """A delete was sent; without a response it may or may not have been done."""
    deleted: bool = False


class Trial:
    """Runs clients against a server that it interrupts; `interrupt` ends the server at once, `seed` decides when."""

    def __init__(
        self,
        process: ServerProcess,
        interrupt: Callable[[], None],
        expected: dict[str, Result],
        callback_url: str,
        seed: int,
    ) -> None:
        self.findings = Findings()
        self._process = process
        self._container = container_in(process.jobs_dir)
        process.settings = {**SETTINGS, "blob_container": self._container.as_uri()}
        self._interrupt = interrupt
        self._expected = expected
        self._url = callback_url
        self._draw = random.Random(seed)
        self._jobs: dict[str, Submitted] = {}
        self._facts: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._episodes = 0
        for name, content in TRACKS.items():
            (process.music / f"{name}.wav").write_bytes(content)

    def record_fact(self, fact: str) -> None:
        """Records that a client got a fact; an episode can interrupt the server at such a moment."""
        self._facts[fact].set()

    def called_back(self, name: str, stage: str) -> None:
        """Records that a callback reported a stage of a job."""
        if stage == "loudness":
            self._jobs[name].measured = True
            self.record_fact(f"measured {name}")
        elif stage == "stems":
            self.record_fact(f"stems of {name}")
        if self._facts[f"measured {name}"].is_set() and self._facts[f"stems of {name}"].is_set():
            self.record_fact(f"called back {name}")

    async def episode(self, moments: Sequence[Moment | None]) -> None:
        """Submits new jobs, interrupts the server at these moments (None: random), and checks all jobs at the end."""
        self._begin()
        for moment in moments:
            await self._one_start(moment or self._drawn_moment())
        await self._one_start(None)

    def _begin(self) -> None:
        number = self._episodes
        self._episodes += 1
        for track in ("long", "short", "again"):
            self._add(Submitted(f"{track}-{number}", "kept" if track == "again" else track))
        if not number:
            self._add(Submitted("kept", "kept"))
        sent = Submitted(f"sent-{number}", "sent", upload=with_junk(TRACKS["sent"], number))
        # Without the client's checksum only the server's own checks can protect the content.
        sent.upload_sha256 = hashlib.sha256(sent.upload).hexdigest() if number % 2 else ""
        self._add(sent)

    def _add(self, job: Submitted) -> None:
        self._jobs[job.name] = job
        self.findings.jobs += 1

    # From one start of the server to its end

    async def _one_start(self, moment: Moment | None) -> None:
        """Runs the clients until an interruption, or without one until they have nothing left to do."""
        if not self._process.alive:
            await self._process.start()
        client = Client(self._process.address)
        working = asyncio.create_task(self._work(client))
        try:
            if moment is not None:
                await self._until(moment, working)
                self._interrupt()
                self.findings.interruptions += 1
                working.cancel()
            await asyncio.wait([working], timeout=PATIENCE_SECONDS)
            if not working.done():
                for job in self._jobs.values():
                    if not job.deleted and not job.succeeded:
                        self.findings.lost.add(job.name, "does not end")
                working.cancel()
                await asyncio.wait([working])
            error = None if working.cancelled() else working.exception()
            broken_off = moment is not None and isinstance(error, grpc.aio.AioRpcError)
            if error is not None and not broken_off:
                raise error
        finally:
            working.cancel()
            await client.close()

    def _drawn_moment(self) -> Moment:
        facts = [
            f"{verb} {job.name}"
            for job in self._jobs.values()
            if not job.deleted
            for verb in ("accepted", "measured", "succeeded", "called back", "uploaded")
            if (verb != "uploaded" or job.upload) and not self._facts[f"{verb} {job.name}"].is_set()
        ]
        facts += [f"deleted {job.name}" for job in self._from_earlier_episodes() if not job.deleted]
        if facts and self._draw.random() < 0.5:
            return self._draw.choice(facts)
        return self._draw.uniform(-0.5, LONGEST_WAIT_SECONDS)

    async def _until(self, moment: Moment, working: asyncio.Task[None]) -> None:
        if isinstance(moment, str):
            happened = asyncio.create_task(self._facts[moment].wait())
            await asyncio.wait(
                [happened, working], return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE_SECONDS
            )
            happened.cancel()
            return
        if moment >= 0:
            await self._process.logged("model warm")
        await asyncio.wait([working], timeout=abs(moment))

    async def _work(self, client: Client) -> None:
        await self._check_facts(client)
        await together(self._delete(client, job) for job in self._from_earlier_episodes() if not job.deleted)
        await together(self._run_job(client, job) for job in self._jobs.values() if not job.deleted)

    def _from_earlier_episodes(self) -> list[Submitted]:
        """Returns the jobs of earlier episodes, except the one that stays for the whole trial."""
        latest = f"-{self._episodes - 1}"
        return [job for job in self._jobs.values() if job.name != "kept" and not job.name.endswith(latest)]

    async def _delete(self, client: Client, job: Submitted) -> None:
        job.deleting = True
        try:
            await client.delete(job.name)
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:
                raise
        job.deleted = True
        self.record_fact(f"deleted {job.name}")

    async def _run_job(self, client: Client, job: Submitted) -> None:
        """Submits the job and waits for its end and its callbacks; repeated after each start."""
        source = job_pb2.Source(path=str(self._process.music / f"{job.track}.wav"))
        if job.upload and not job.accepted:
            await self._send(client, job)
            source = job_pb2.Source(upload_id=job.upload_id)
        if not job.accepted:
            callback = job_pb2.Callback(url=self._url)
            await client.submit(
                source, job_id=job.name, request_id=job.request_id, wanted=WANTED, callback=callback
            )
            job.accepted = True
            self.record_fact(f"accepted {job.name}")
        ended = await client.ended(job.name)
        if ended.state != SUCCEEDED:
            self.findings.failed.add(job.name, f"{ended.error.reason} {ended.error.message}")
            return
        job.succeeded = True
        self.record_fact(f"succeeded {job.name}")
        await self._compare(client, job, ended)
        try:
            await asyncio.wait_for(self._facts[f"called back {job.name}"].wait(), PATIENCE_SECONDS / 2)
        except TimeoutError:
            self.findings.lost.add(job.name, "its callbacks never came")

    async def _send(self, client: Client, job: Submitted) -> None:
        """Resumes an upload at its committed bytes."""
        call = client.transfer.UploadAudio()
        header = {"upload_id": job.upload_id, "sha256": job.upload_sha256}
        await call.write(upload_header(len(job.upload), **header))
        answer: transfer_pb2.UploadAudioResponse = await call.read()
        job.upload_id, committed = answer.upload_id, answer.committed_bytes
        if job.uploaded and not answer.complete:
            self.findings.lost.add(job.name, f"its complete upload stands at {committed}")
        for place in range(committed, len(job.upload), CHUNK_BYTES):
            await call.write(upload_chunk(place, job.upload[place : place + CHUNK_BYTES]))
        await call.write(upload_finish())
        await call.done_writing()
        try:
            while (more := await call.read()) is not grpc.aio.EOF:
                answer = more
        except grpc.aio.AioRpcError as error:
            if "sha256" not in (error.details() or ""):
                raise
            self.findings.wrong.add(job.name, f"its upload, taken up at {committed}: {error.details()}")
            await self._send(client, job)
            return
        assert answer.complete
        if answer.sha256 != hashlib.sha256(job.upload).hexdigest():
            self.findings.wrong.add(job.name, f"its upload, taken up at {committed}, has other content")
        job.uploaded = True
        self.record_fact(f"uploaded {job.name}")

    # Checks of what clients were told

    async def _check_facts(self, client: Client) -> None:
        # Before the list: more callbacks come while this compares.
        measured = {job.name for job in self._jobs.values() if job.measured}
        known = {job.job_id: job for job in (await client.list(page_size=1000)).jobs}
        for job in self._jobs.values():
            found = known.get(job.name)
            if job.deleted:
                if found is not None:
                    self.findings.lost.add(job.name, "was deleted and is there again")
            elif found is None:
                if job.accepted and not job.deleting:
                    self.findings.lost.add(job.name, "was accepted and is gone")
                    job.accepted = job.measured = job.succeeded = False
            elif found.state in (FAILED, CANCELLED):
                self.findings.failed.add(job.name, f"{found.error.reason} {found.error.message}")
            elif job.succeeded:
                if found.state != SUCCEEDED:
                    self.findings.lost.add(job.name, f"had succeeded and is in state {found.state}")
                await self._compare(client, job, found)
            elif job.name in measured and loudness_of(found) != self._expected[job.track]["loudness"]:
                self.findings.lost.add(job.name, "its loudness was told and is gone")

    async def _compare(self, client: Client, job: Submitted, record: job_pb2.Job) -> None:
        expected = self._expected[job.track]
        # Not in a thread: no file may be open when the power is cut.
        found = result_of(self._process.jobs_dir / job.name)
        if loudness := loudness_of(record):
            found["loudness"] = loudness
        for kind, fault in faults_of_blobs(self._container, record):
            getattr(self.findings, kind).add(job.name, fault)
        if any(artifact.name == ANNOTATION for artifact in record.artifacts):
            found[ANNOTATION] = await client.artifact(job.name, ANNOTATION)
        for name, content in expected.items():
            if name not in found:
                self.findings.lost.add(job.name, f"has no {name}")
            elif found[name] != content:
                self.findings.wrong.add(job.name, f"{name} {difference(found[name], content)}")
        for stem in sorted(name for name in expected if name.startswith("stems/")):
            try:
                read = await client.read_stem(job.name, Path(stem).stem, encoding=PCM_F32LE)
            except grpc.aio.AioRpcError as error:
                if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                    raise
                self.findings.lost.add(job.name, f"{stem} cannot be read: {error.details()}")
                continue
            if not read or not expected[stem].endswith(read):
                self.findings.wrong.add(job.name, f"{stem} reads wrong over gRPC")


async def together(steps: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Runs all to their ends; raises an exception of one of them, preferably other than a broken call."""
    ends = await asyncio.gather(*steps, return_exceptions=True)
    errors = [end for end in ends if end is not None]
    errors.sort(key=lambda error: isinstance(error, grpc.aio.AioRpcError))
    if errors:
        raise errors[0]


@asynccontextmanager
async def trial_of(
    process: ServerProcess, interrupt: Callable[[], None], expected: dict[str, Result], *, seed: int
) -> AsyncGenerator[Trial]:
    """Creates a trial with a receiver of callbacks; stops the server normally after the block."""
    draw = random.Random(seed)

    async def answer(visit: Visit) -> None:
        """Refuses a third of the callbacks, which the server must send again."""
        await visit.read_body()
        if draw.random() < 1 / 3:
            await visit.answer(503)
            return
        await visit.answer(200)
        trial.called_back(visit.headers["x-mismo-job-id"], visit.headers["x-mismo-stage"])

    async with Receiver(answer) as receiver:
        trial = Trial(process, interrupt, expected, receiver.url, seed)
        yield trial
        process.signal()
        assert await process.exited() == 0


async def run_trial(
    process: ServerProcess,
    interrupt: Callable[[], None],
    expected: dict[str, Result],
    *,
    seed: int,
    interruptions: int,
    say: Callable[[str], None] = print,
) -> Findings:
    """Makes `interruptions` interruptions at random moments, in episodes of one to three."""
    draw = random.Random(seed)
    async with trial_of(process, interrupt, expected, seed=seed) as trial:
        while (left := interruptions - trial.findings.interruptions) > 0:
            await trial.episode([None] * min(left, draw.randint(1, 3)))
            say(str(trial.findings))
    return trial.findings
