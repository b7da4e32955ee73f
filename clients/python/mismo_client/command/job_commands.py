"""Commands about jobs: submit, watch, jobs, update, replay, cancel, delete."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from mismo.analysis.v1 import job_pb2, job_service_pb2
from mismo_client.client import AsyncClient
from mismo_client.command.options import (
    DEFAULT_SERVER,
    PRIORITIES,
    STATES,
    BlobPrefix,
    Json,
    Labels,
    Model,
    Overlap,
    Playhead,
    PriorityName,
    PriorityOption,
    Server,
    Shifts,
    States,
    Stems,
    Track,
    TwoStems,
    Upload,
    check_stems,
    labels,
    seconds,
    stages,
    stem_names,
)
from mismo_client.command.progress import ProgressReporter
from mismo_client.command.render import (
    as_json,
    dead_letters_table,
    event_line,
    job_lines,
    jobs_event_line,
    jobs_table,
    local_time,
    print_json,
    state_name,
)
from mismo_client.command.run import EXIT_ERROR, answers, notes, run
from mismo_client.command.sources import check_upload, submit_track
from mismo_client.errors import MismoRpcError


def submit(
    track: Track,
    stage: Annotated[
        list[str] | None,
        typer.Option(
            "--stage", metavar="NAME", help="What to do, of `mismo stages`; repeatable.", show_default="stems"
        ),
    ] = None,
    model: Model = "",
    stems: Stems = "",
    two_stems: TwoStems = "",
    playhead: Playhead = "",
    upload: Upload = False,
    priority: PriorityOption = PriorityName.NORMAL,
    shifts: Shifts = 0,
    overlap: Overlap = None,
    job_id: Annotated[str, typer.Option(help="Its id; the server makes one if left out.")] = "",
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="To find it by; repeatable.")
    ] = None,
    blob_prefix: BlobPrefix = "",
    wait: Annotated[
        bool, typer.Option("--wait", help="Until it has ended, and show what came of it.")
    ] = False,
    json: Json = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Submit a track and print the job's id; the job goes on without this command.

    Where the server cannot read the track's path, the track is uploaded.

    Examples:

        mismo submit song.flac --stage loudness --wait

        mismo submit song.flac --stage stems --stage loudness --label deck=A --playhead 1:30

        mismo watch $(mismo submit song.flac)

        mismo submit s3://music/song.flac --blob-prefix albums/42

    Exit code: 0 submitted (with --wait: succeeded), 1 the server or the job failed, 2 wrong usage.
    """
    check_stems(stems, two_stems)
    check_upload(upload, track)
    asked, wanted, names = stages(stage or ()), labels(label or ()), stem_names(stems)
    start = seconds(playhead, "--playhead") if playhead else None

    async def work(client: AsyncClient) -> job_pb2.Job:
        with ProgressReporter(notes()) as reporter:
            submitted = await submit_track(
                client,
                track,
                upload,
                reporter,
                lambda source: client.submit(
                    source,
                    stages=asked,
                    model=model,
                    stems=names,
                    two_stems=two_stems,
                    playhead=start,
                    priority=PRIORITIES[priority],
                    shifts=shifts,
                    overlap=overlap,
                    job_id=job_id,
                    labels=wanted,
                    blob_prefix=blob_prefix,
                ),
            )
        job = submitted.job
        if not json:
            typer.echo(job.job_id)
        if wait:
            async with contextlib.aclosing(client.watch(job.job_id, expected_run_id=job.run_id)) as events:
                async for event in events:
                    if event.HasField("terminal"):
                        job = event.terminal.job
        return job

    job = run(server, work)
    if json:
        print_json(answers(), as_json(job))
    elif wait:
        for line in job_lines(job):
            notes().print(line, highlight=False, markup=False, soft_wrap=True)
    if wait and job.state != job_pb2.JOB_STATE_SUCCEEDED:
        raise typer.Exit(EXIT_ERROR)


def watch(
    job: Annotated[str, typer.Argument(help="A job's id.", show_default=False)] = "",
    every: Annotated[bool, typer.Option("--all", help="All jobs, until interrupted.")] = False,
    state: States = None,
    label: Labels = None,
    cursor: Annotated[
        str, typer.Option(help="Go on behind this one, which --json shows; with --all, --state or --label.")
    ] = "",
    json: Json = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Follow a job until it ends, or many jobs until interrupted.

    With --all, --state or --label: first the jobs as they are, then every change, over restarts of the
    server. Exit code 1 if the one job failed or was cancelled.

    Examples:

        mismo watch 0f3c5a

        mismo watch --all

        mismo watch --label deck=A --state running --json
    """
    many = every or bool(state) or bool(label)
    if bool(job) == many:
        raise typer.BadParameter("give a job's id, or --all, --state or --label for many jobs")
    if cursor and not many:
        raise typer.BadParameter("--cursor goes with --all, --state or --label")
    states, wanted = [STATES[name] for name in state or ()], labels(label or ())
    out = answers()

    def show(event: job_service_pb2.WatchJobResponse | job_service_pb2.WatchJobsResponse, line: str) -> None:
        if json:
            print_json(out, as_json(event))
        else:
            moment = local_time(event.time, "%H:%M:%S")
            out.print(f"{moment}  {line}", highlight=False, markup=False, soft_wrap=True)

    async def follow_one(client: AsyncClient) -> job_pb2.JobState:
        ended = job_pb2.JOB_STATE_UNSPECIFIED
        async with contextlib.aclosing(client.watch(job)) as events:
            async for event in events:
                show(event, event_line(event))
                if event.HasField("terminal"):
                    ended = event.terminal.job.state
        return ended

    async def follow_many(client: AsyncClient) -> None:
        watching = client.watch_jobs(
            states=states,
            labels=wanted,
            cursor=cursor,
            on_expired=lambda: notes().print("the cursor expired; all jobs follow anew", highlight=False),
        )
        async with contextlib.aclosing(watching) as events:
            async for event in events:
                show(event, jobs_event_line(event))

    if many:
        run(server, follow_many)
    elif run(server, follow_one) != job_pb2.JOB_STATE_SUCCEEDED:
        raise typer.Exit(EXIT_ERROR)


def jobs(
    job: Annotated[str, typer.Argument(help="A job's id; all jobs if left out.", show_default=False)] = "",
    state: States = None,
    label: Labels = None,
    dead_letters: Annotated[
        bool,
        typer.Option("--dead-letters", help="Only jobs that failed from a cause that may pass."),
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    json: Json = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """List jobs, newest first, or show one.

    Examples:

        mismo jobs --state running --state queued

        mismo jobs --label deck=A

        mismo jobs 0f3c5a

        mismo jobs --dead-letters

        mismo jobs --json --limit 1000
    """
    out = answers()
    states = [STATES[name] for name in state or ()]
    wanted = labels(label or ())

    async def newest(client: AsyncClient) -> list[job_pb2.Job]:
        found: list[job_pb2.Job] = []
        async with contextlib.aclosing(
            client.list(states=states, labels=wanted, dead_letters=dead_letters, page_size=min(limit, 1000))
        ) as listed:
            async for one in listed:
                found.append(one)
                if len(found) == limit:
                    break
        return found

    if job:
        one = run(server, lambda client: client.get(job))
        if json:
            print_json(out, as_json(one))
        else:
            for line in job_lines(one):
                out.print(line, highlight=False, markup=False, soft_wrap=True)
        return
    found = run(server, newest)
    if json:
        print_json(out, [as_json(one) for one in found])
    elif found:
        out.print(dead_letters_table(found) if dead_letters else jobs_table(found))
    else:
        notes().print("no dead letters" if dead_letters else "no jobs", highlight=False)


def update(
    job: Annotated[str, typer.Argument(help="A job's id.")],
    priority: Annotated[
        PriorityName | None, typer.Option(help="A higher one overtakes between two segments.")
    ] = None,
    playhead: Annotated[
        str, typer.Option(metavar="TIME", help="Separate next what is needed from here: 90, 1:30.")
    ] = "",
    clear_playhead: Annotated[
        bool, typer.Option("--clear-playhead", help="Separate from the start of the track again.")
    ] = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Change the priority or the playhead of a job that has not ended.

    Examples:

        mismo update 0f3c5a --priority high --playhead 2:15

        mismo update 0f3c5a --clear-playhead
    """
    if playhead and clear_playhead:
        raise typer.BadParameter("--playhead and --clear-playhead exclude each other; give one")
    if not (priority or playhead or clear_playhead):
        raise typer.BadParameter("give --priority, --playhead or --clear-playhead")
    start = seconds(playhead, "--playhead") if playhead else None
    changed = run(
        server,
        lambda client: client.update(
            job,
            priority=PRIORITIES[priority] if priority else job_pb2.PRIORITY_UNSPECIFIED,
            playhead=start,
            clear_playhead=clear_playhead,
        ),
    )
    typer.echo(f"{changed.job_id} {state_name(changed.state)}")


def replay(
    job: Annotated[list[str], typer.Argument(help="Ids of jobs.")], server: Server = DEFAULT_SERVER
) -> None:
    """Try failed jobs once more; what their stages have made already is kept.

    Jobs that failed from a cause that may pass are in `mismo jobs --dead-letters`.

    Examples:

        mismo replay 0f3c5a

        mismo watch $(mismo replay 0f3c5a)
    """

    async def replay_all(client: AsyncClient) -> None:
        for one in job:
            typer.echo((await client.replay(one)).job_id)

    run(server, replay_all)


def cancel(
    job: Annotated[list[str], typer.Argument(help="Ids of jobs.")], server: Server = DEFAULT_SERVER
) -> None:
    """Cancel jobs; those that ended stay as they are.

    Example:

        mismo cancel 0f3c5a
    """

    async def cancel_all(client: AsyncClient) -> list[job_pb2.Job]:
        return [await client.cancel(one) for one in job]

    for ended in run(server, cancel_all):
        typer.echo(f"{ended.job_id} {state_name(ended.state)}")


def delete(
    job: Annotated[list[str], typer.Argument(help="Ids of jobs.")],
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="A job that is not there is no error.")
    ] = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Delete jobs with their files; one that runs is cancelled first.

    Examples:

        mismo delete 0f3c5a

        mismo delete 0f3c5a 77ab01 --allow-missing
    """

    async def delete_all(client: AsyncClient) -> None:
        for one in job:
            try:
                await client.delete(one)
            except MismoRpcError as error:
                # Not asked of the server: its response does not tell whether there was a job.
                if not allow_missing or error.reason != "JOB_NOT_FOUND":
                    raise
                typer.echo(f"{one} was not there")
            else:
                typer.echo(f"{one} deleted")

    run(server, delete_all)
