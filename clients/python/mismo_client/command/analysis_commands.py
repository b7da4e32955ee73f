"""Commands about what the music is: analyze, compare."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Annotated

import typer

from mismo.analysis.v1 import job_pb2
from mismo.analysis.v1.results_pb2 import TrackComparison
from mismo_client.client import AsyncClient
from mismo_client.command.analysis.analysing import Analysing, Analysis
from mismo_client.command.analysis.compare import CompareSide, comparison_table, side_of, track_or_job
from mismo_client.command.analysis.offered import offered_analyses
from mismo_client.command.analysis.result_files import ResultFiles, check_targets
from mismo_client.command.analysis.results_table import results_table
from mismo_client.command.options import (
    DEFAULT_SERVER,
    PRIORITIES,
    BlobPrefix,
    Json,
    PriorityName,
    PriorityOption,
    Server,
    Track,
    Upload,
    stages,
)
from mismo_client.command.progress import ProgressReporter
from mismo_client.command.render import as_json, print_json
from mismo_client.command.run import answers, fail, notes, run
from mismo_client.command.sources import FileOrBlob, check_upload
from mismo_client.errors import ClientError


def analyze(
    track: Track,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png", dir_okay=False, help="Draw waveform, bars, sections, chords, cue points."
        ),
    ] = None,
    jams: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jams", dir_okay=False, help="Write the annotations as JAMS."),
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            allow_dash=True,
            dir_okay=False,
            help="Write the job with its results as JSON; - is standard output, in place of the table.",
        ),
    ] = None,
    stage: Annotated[
        list[str] | None,
        typer.Option(
            "--stage",
            "--stages",
            metavar="NAME",
            help="Only these analyses, of `mismo stages`; repeatable.",
            show_default="all that the server offers",
        ),
    ] = None,
    stems: Annotated[
        bool,
        typer.Option(
            "--stems/--no-stems", help="Separate the stems first: better vocals and chords, takes longer."
        ),
    ] = False,
    upload: Upload = False,
    priority: PriorityOption = PriorityName.NORMAL,
    blob_prefix: BlobPrefix = "",
    server: Server = DEFAULT_SERVER,
) -> None:
    """Analyze a track: tempo, key, sections, chords, character, where to mix.

    Analyses that the server does not offer are left out, with a note. Where the server cannot read
    the track's path, the track is uploaded. Files appear under their names when they are whole,
    and replace earlier ones. Ctrl-C cancels the job.

    Examples:

        mismo analyze song.flac

        mismo analyze song.flac --plot song.png --jams song.jams

        mismo analyze song.flac --stage basic_features,sections --json -

        mismo analyze song.mp3 --stems --server studio:50051

        mismo analyze az://audio-files/song.mp3 --json song.json

    Exit code: 0 analysed (a single analysis may have failed: the table tells why), 1 the server or the
    job failed or a file could not be written, 2 wrong usage, 130 interrupted.
    """
    check_upload(upload, track)
    if plot is not None and track.file is None:
        raise typer.BadParameter(
            "--plot draws the waveform of a file on this machine; download the blob first"
        )
    wanted = stages(stage or ())
    files = ResultFiles(plot, jams, json)
    check_targets(files)
    try:
        files.check_libraries()
    except ClientError as error:
        fail(str(error))

    async def work(client: AsyncClient) -> job_pb2.Job:
        with ProgressReporter(notes()) as reporter:
            asked = wanted or await offered_analyses(client, reporter)
            plan = Analysis(track, asked, stems, upload, PRIORITIES[priority], blob_prefix)
            return await Analysing(client, plan, reporter).run()

    job = run(server, work)
    if not files.json_to_stdout:
        answers().print(results_table(job))

    async def write(client: AsyncClient) -> None:
        async with contextlib.aclosing(files.write(client, job, track.file or Path(track.name))) as written:
            async for file in written:
                notes().print(f"wrote {file}", highlight=False, markup=False, soft_wrap=True)

    if files.asked:
        run(server, write)


def compare(
    outgoing: Annotated[
        str, typer.Argument(metavar="OUTGOING", help="The track that plays: a file, a blob, or a job's id.")
    ],
    incoming: Annotated[str, typer.Argument(metavar="INCOMING", help="The track that follows.")],
    cues: Annotated[int, typer.Option(min=1, max=100, help="The most pairs of cue points.")] = 5,
    upload: Upload = False,
    json: Json = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Rate how well one track follows another in a mix.

    Files are analysed first, unless the server still has their results. A job needs the result of the
    stage transition.

    Examples:

        mismo compare first.flac second.flac

        mismo compare 0f3c5a 77ab01 --cues 10

        mismo compare 0f3c5a second.flac --json
    """
    sources = track_or_job(outgoing), track_or_job(incoming)
    check_upload(upload, *(source for source in sources if isinstance(source, FileOrBlob)))

    async def work(client: AsyncClient) -> tuple[CompareSide, CompareSide, TrackComparison]:
        with ProgressReporter(notes()) as reporter:
            sides = [asyncio.create_task(side_of(client, one, upload, reporter)) for one in sources]
            try:
                first, second = await asyncio.gather(*sides)
            except BaseException:
                for side in sides:
                    side.cancel()
                await asyncio.wait(sides)
                raise
        compared = await client.compare_tracks(first.job.job_id, second.job.job_id, max_cue_pairs=cues)
        return first, second, compared

    first, second, compared = run(server, work)
    out = answers()
    if json:
        print_json(out, as_json(compared))
    else:
        out.print(comparison_table(first, second, compared))
