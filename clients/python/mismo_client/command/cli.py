"""The command `mismo`."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from mismo.analysis.v1 import job_pb2
from mismo_client.client import AsyncClient
from mismo_client.command.options import (
    DEFAULT_SERVER,
    PRIORITIES,
    STATES,
    Json,
    PriorityName,
    Server,
    StateName,
    seconds,
    stem_names,
)
from mismo_client.command.progress import ProgressReporter
from mismo_client.command.render import (
    as_json,
    event_line,
    info_lines,
    job_lines,
    jobs_table,
    local_time,
    model_lines,
    models_table,
    print_json,
    state_name,
)
from mismo_client.command.run import EXIT_ERROR, answers, fail, notes, run
from mismo_client.command.separate import Separating, Separation
from mismo_client.command.stem_files import FileFormat, check_flac
from mismo_client.command.stem_output import Container, Excerpt, SampleFormat, write_stem, write_stem_file
from mismo_client.errors import ClientError

app = typer.Typer(
    name="mismo",
    help="""Separates tracks into stems on an analysis server, and plays them while they are made.

Every command takes --server HOST:PORT (or the environment variable MISMO_SERVER).

Examples:

    mismo separate song.flac -o stems

    mismo separate song.flac -o stems --playhead 1:30 --format flac

    mismo --help, mismo separate --help
""",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command()
def separate(
    track: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, readable=True, show_default=False, help="An audio file."),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Stems go to DIR/TRACK/STEM.wav.")
    ] = Path(),
    model: Annotated[
        str, typer.Option(help="A model of `mismo models`; the server's default if left out.")
    ] = "",
    stems: Annotated[str, typer.Option(metavar="NAMES", help="Some stems only: vocals,drums.")] = "",
    two_stems: Annotated[
        str, typer.Option(metavar="NAME", help="One stem and all the rest: vocals and no_vocals.")
    ] = "",
    playhead: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="Begin here: 90, 1:30, 1:02:03.5. The files are whole all the same."
        ),
    ] = "",
    file_format: Annotated[FileFormat, typer.Option("--format", help="What to write.")] = FileFormat.WAV,
    upload: Annotated[
        bool, typer.Option("--upload", help="Send the file; without it the server reads the path itself.")
    ] = False,
    priority: Annotated[
        PriorityName, typer.Option(help="A higher one overtakes between two segments.")
    ] = PriorityName.NORMAL,
    shifts: Annotated[int, typer.Option(min=0, max=20, help="Average this many shifted passes.")] = 0,
    overlap: Annotated[
        float | None, typer.Option(min=0.0, max=0.95, show_default="0.25", help="How far segments overlap.")
    ] = None,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Separate a track into stem files.

    Stems are written as they are made, from the playhead on. The server must be able to read
    the track's path; where it cannot, the track is uploaded. Files appear under their names
    when they are whole. Ctrl-C cancels the job.

    Examples:

        mismo separate song.flac -o stems

        mismo separate song.mp3 -o stems --two-stems vocals --format flac

        mismo separate set.wav -o stems --playhead 42:10 --priority high

        mismo separate song.wav -o stems --server studio:50051 --upload

    Exit code: 0 whole stems, 1 the server or the job failed, 2 wrong usage, 130 interrupted.
    """
    if stems and two_stems:
        raise typer.BadParameter("--stems and --two-stems exclude each other; give one")
    plan = Separation(
        track=track.absolute(),
        output=output,
        model=model,
        stems=stem_names(stems),
        two_stems=two_stems,
        playhead=seconds(playhead) if playhead else None,
        file_format=file_format,
        upload=upload,
        priority=PRIORITIES[priority],
        shifts=shifts,
        overlap=overlap,
    )
    if file_format is FileFormat.FLAC:
        try:
            check_flac()
        except ClientError as error:
            fail(str(error))
    with ProgressReporter(notes()) as reporter:
        done = run(server, lambda client: Separating(client, plan, reporter, time.monotonic).run())
    for file in done.files:
        typer.echo(file)
    speed = done.track_seconds / done.elapsed if done.elapsed else 0.0
    notes().print(f"done in {done.elapsed:.1f} s, {speed:.1f}× realtime", highlight=False)


@app.command()
def watch(
    job: Annotated[str, typer.Argument(help="A job's id.")],
    json: Json = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Follow a job until it ends.

    Exit code 1 if it failed or was cancelled.

    Example:

        mismo watch 0f3c5a
    """
    out = answers()

    async def follow(client: AsyncClient) -> job_pb2.JobState:
        state = job_pb2.JOB_STATE_UNSPECIFIED
        async with contextlib.aclosing(client.watch(job)) as events:
            async for event in events:
                if json:
                    print_json(out, as_json(event))
                else:
                    moment = local_time(event.time, "%H:%M:%S")
                    out.print(f"{moment}  {event_line(event)}", highlight=False, markup=False, soft_wrap=True)
                if event.HasField("terminal"):
                    state = event.terminal.job.state
        return state

    if run(server, follow) != job_pb2.JOB_STATE_SUCCEEDED:
        raise typer.Exit(EXIT_ERROR)


@app.command()
def jobs(
    job: Annotated[str, typer.Argument(help="A job's id; all jobs if left out.", show_default=False)] = "",
    state: Annotated[
        list[StateName] | None, typer.Option(help="Only jobs in this state; repeatable.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    json: Json = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """List jobs, newest first, or show one.

    Examples:

        mismo jobs --state running --state queued

        mismo jobs 0f3c5a

        mismo jobs --json --limit 1000
    """
    out = answers()
    states = [STATES[name] for name in state or ()]

    async def newest(client: AsyncClient) -> list[job_pb2.Job]:
        found: list[job_pb2.Job] = []
        async with contextlib.aclosing(client.list(states=states, page_size=min(limit, 1000))) as listed:
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
        out.print(jobs_table(found))
    else:
        notes().print("no jobs", highlight=False)


@app.command()
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


@app.command()
def info(json: Json = False, server: Server = DEFAULT_SERVER) -> None:
    """Tell what the server is and how it fares.

    Example:

        mismo info --server studio:50051
    """
    out = answers()
    answer = run(server, lambda client: client.info())
    if json:
        print_json(out, as_json(answer))
        return
    for line in info_lines(answer):
        out.print(line, highlight=False, markup=False, soft_wrap=True)


@app.command()
def models(
    model: Annotated[str, typer.Argument(help="A model's name; all if left out.", show_default=False)] = "",
    json: Json = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """List the models of the server, or show one.

    For one that the server cannot use it tells why.

    Examples:

        mismo models

        mismo models htdemucs_ft
    """
    out = answers()
    known = run(server, lambda client: client.models())
    if model:
        known = [one for one in known if one.name == model]
        if not known:
            fail(f"the server knows no model {model!r}; `mismo models` lists those it knows")
    if json:
        print_json(out, [as_json(one) for one in known])
    elif model:
        for line in model_lines(known[0]):
            out.print(line, highlight=False, markup=False, soft_wrap=True)
    else:
        out.print(models_table(known))
        if any(one.reason for one in known):
            notes().print("why a model is unavailable: mismo models NAME", highlight=False)


@app.command()
def read(
    job: Annotated[str, typer.Argument(help="A job's id.")],
    stem: Annotated[str, typer.Argument(help="One of its stems.")],
    output: Annotated[
        str,
        typer.Option("-o", "--output", metavar="FILE", help="- is standard output.", show_default="STEM.wav"),
    ] = "",
    start: Annotated[str, typer.Option(metavar="TIME", help="From here: 90, 1:30, 1:02:03.5.")] = "0",
    duration: Annotated[
        str, typer.Option(metavar="TIME", help="So much of it.", show_default="to the end")
    ] = "",
    container: Annotated[Container, typer.Option("--format", help="raw: samples alone.")] = Container.WAV,
    samples: Annotated[SampleFormat, typer.Option(help="Of wav and raw.")] = SampleFormat.S16,
    follow: Annotated[bool, typer.Option("--follow", help="Wait for what is not separated yet.")] = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Read one stem, or a part of it.

    It goes into a file, or onto standard output.

    Examples:

        mismo read 0f3c5a vocals -o vocals.wav

        mismo read 0f3c5a drums --start 1:30 --duration 8 -o - | aplay
    """
    excerpt = Excerpt(
        job_id=job,
        stem_name=stem,
        start=seconds(start),
        duration=seconds(duration) if duration else None,
        samples=samples,
        container=container,
        follow=follow,
    )
    if output == "-":
        if sys.stdout.isatty():
            raise typer.BadParameter(
                "a terminal plays no audio; send it through a pipe or name a file with -o"
            )
        run(server, lambda client: write_stem(client, excerpt, sys.stdout.buffer))
        return
    target = Path(output or f"{stem}.{container.value}")
    frames = run(server, lambda client: write_stem_file(client, excerpt, target))
    typer.echo(target)
    notes().print(f"{frames} frames", highlight=False)
