"""The command about finished stems in other formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mismo_client.client import AsyncClient
from mismo_client.command.exports.fetching import export_formats, fetch_exports
from mismo_client.command.options import DEFAULT_SERVER, Server
from mismo_client.command.progress import ProgressReporter
from mismo_client.command.run import notes, run


def export(
    job: Annotated[str, typer.Argument(help="A job's id; its stems are finished.")],
    formats: Annotated[
        str, typer.Option("--format", metavar="FORMATS", help="One or more of mp3, flac, stem.mp4.")
    ] = "mp3",
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where the files go.", show_default="here")
    ] = Path(),
    server: Server = DEFAULT_SERVER,
) -> None:
    """Download the finished stems of a job in other formats.

    The server makes each file when it is first asked for, which takes seconds. stem.mp4 is one file with all
    stems for DJ software (Native Instruments' Stems); it needs the stems drums, bass, other and vocals.

    Examples:

        mismo export 0f3c5a -o stems

        mismo export 0f3c5a --format flac,stem.mp4 -o stems

    Exit code: 0 all files, 1 the server failed, 2 wrong usage, 130 interrupted.
    """
    asked = export_formats(formats)
    if not asked:
        raise typer.BadParameter("name at least one format, such as mp3", param_hint="--format")

    async def work(client: AsyncClient) -> list[Path]:
        with ProgressReporter(notes()) as reporter:
            return await fetch_exports(client, await client.get(job), asked, output, reporter)

    for file in run(server, work):
        typer.echo(file)
