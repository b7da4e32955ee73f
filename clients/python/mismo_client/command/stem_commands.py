"""Commands that bring stems: separate, read, waveform."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from mismo.analysis.v1.stage_pb2 import STAGE_LOUDNESS
from mismo_client.command.drawing import DEFAULT_WIDTH, Drawing, draw
from mismo_client.command.exports.fetching import export_formats
from mismo_client.command.options import (
    DEFAULT_SERVER,
    PRIORITIES,
    BlobPrefix,
    Json,
    Model,
    Overlap,
    Playhead,
    PriorityName,
    PriorityOption,
    Server,
    Shifts,
    Stems,
    Track,
    TwoStems,
    Upload,
    check_stems,
    seconds,
    stages,
    stem_names,
)
from mismo_client.command.progress import ProgressReporter
from mismo_client.command.render import outcome_lines, print_json
from mismo_client.command.run import answers, fail, notes, run
from mismo_client.command.separate import Separation, separate_track
from mismo_client.command.sources import check_upload
from mismo_client.command.stem_files import FileFormat, check_flac
from mismo_client.command.stem_job import Received
from mismo_client.command.stem_output import Container, Excerpt, SampleFormat, write_stem, write_stem_file
from mismo_client.errors import ClientError


def separate(
    track: Track,
    output: Annotated[
        Path, typer.Option("-o", "--output", "--out", metavar="DIR", help="Stems go to DIR/TRACK/STEM.wav.")
    ] = Path(),
    model: Model = "",
    stems: Stems = "",
    two_stems: TwoStems = "",
    playhead: Playhead = "",
    file_format: Annotated[FileFormat, typer.Option("--format", help="What to write.")] = FileFormat.WAV,
    export: Annotated[
        str,
        typer.Option(
            "--export",
            metavar="FORMATS",
            help="Also download the finished stems as one or more of mp3, flac, stem.mp4.",
            show_default=False,
        ),
    ] = "",
    upload: Upload = False,
    priority: PriorityOption = PriorityName.NORMAL,
    shifts: Shifts = 0,
    overlap: Overlap = None,
    loudness: Annotated[
        bool, typer.Option("--loudness", help="Measure the track's loudness as well, and tell it.")
    ] = False,
    stage: Annotated[
        list[str] | None,
        typer.Option(
            "--stage",
            metavar="NAME",
            help="Also run this stage of `mismo stages`, and print its result; repeatable.",
            show_default=False,
        ),
    ] = None,
    analyze: Annotated[
        bool, typer.Option("--analyze", help="Also run all analyses that the server offers.")
    ] = False,
    blob_prefix: BlobPrefix = "",
    server: Server = DEFAULT_SERVER,
) -> None:
    """Separate a track into stem files.

    Stems are written as they are made, from the playhead on. The server must be able to read
    the track's path; where it cannot, the track is uploaded. A blob must be in the server's container
    or one of its other sources. Files appear under their names when they are whole. Ctrl-C cancels the job.

    Examples:

        mismo separate song.flac -o stems

        mismo separate song.mp3 -o stems --two-stems vocals --format flac

        mismo separate song.flac -o stems --export mp3,stem.mp4

        mismo separate set.wav -o stems --playhead 42:10 --priority high

        mismo separate song.flac -o stems --stage basic_features --stage sections

        mismo separate song.wav -o stems --server studio:50051 --upload

        mismo separate az://audio-files/song.mp3 --blob-prefix albums/42

    Exit code: 0 whole stems, 1 the server or the job failed, 2 wrong usage, 130 interrupted.
    """
    check_stems(stems, two_stems)
    check_upload(upload, track)
    asked, exported = stages(stage or ()), export_formats(export)
    if file_format is FileFormat.FLAC and "flac" in exported:
        raise typer.BadParameter("--format flac and --export flac write the same files; leave one out")
    plan = Separation(
        track=track,
        output=output,
        model=model,
        stems=stem_names(stems),
        two_stems=two_stems,
        playhead=seconds(playhead, "--playhead") if playhead else None,
        file_format=file_format,
        upload=upload,
        priority=PRIORITIES[priority],
        shifts=shifts,
        overlap=overlap,
        analyses=(STAGE_LOUDNESS, *asked) if loudness else asked,
        blob_prefix=blob_prefix,
        export=exported,
        every_analysis=analyze,
    )
    if file_format is FileFormat.FLAC:
        try:
            check_flac()
        except ClientError as error:
            fail(str(error))
    with ProgressReporter(notes()) as reporter:
        done = run(server, lambda client: separate_track(client, plan, reporter, time.monotonic))
    show_received(done)


def show_received(done: Received) -> None:
    """The files on standard output; results, errors and speed for a person."""
    for file in done.files:
        typer.echo(file)
    for line in outcome_lines(done.job):
        notes().print(line, highlight=False, markup=False, soft_wrap=True)
    speed = done.audio_seconds / done.elapsed if done.elapsed else 0.0
    notes().print(f"done in {done.elapsed:.1f} s, {speed:.1f}× realtime", highlight=False)


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

        mismo read 0f3c5a bass --follow --format flac -o bass.flac
    """
    excerpt = Excerpt(
        job_id=job,
        stem_name=stem,
        start=seconds(start, "--start"),
        duration=seconds(duration, "--duration") if duration else None,
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


def waveform(
    job: Annotated[str, typer.Argument(help="A job's id.")],
    stems: Annotated[
        str, typer.Option(metavar="NAMES", help="Some stems only: vocals,drums.", show_default="all")
    ] = "",
    width: Annotated[int, typer.Option(min=1, help="Columns, or pixels with --json.")] = DEFAULT_WIDTH,
    json: Json = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Draw the waveform of each stem, as far as it is separated.

    With --json: the lowest and the highest sample of each pixel, 16 bits; null where it is not
    separated yet.

    Examples:

        mismo waveform 0f3c5a

        mismo waveform 0f3c5a --stems vocals --width 1000 --json
    """
    names = stem_names(stems)
    drawings: list[Drawing] = run(server, lambda client: draw(client, job, names, width))
    out = answers()
    for drawing in drawings:
        if json:
            print_json(out, drawing.as_json())
        else:
            typer.echo(drawing.line(max(len(one.stem_name) for one in drawings)))
