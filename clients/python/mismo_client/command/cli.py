"""The command `mismo`: its commands in the order of its help."""

from __future__ import annotations

import typer

from mismo_client.command.analysis_commands import analyze, compare
from mismo_client.command.blob_commands import link
from mismo_client.command.exports.commands import export
from mismo_client.command.generation_commands import generate
from mismo_client.command.job_commands import cancel, delete, jobs, replay, submit, update, watch
from mismo_client.command.server_commands import info, models, stages
from mismo_client.command.stem_commands import read, separate, waveform

app = typer.Typer(
    name="mismo",
    help="""Analyses tracks, separates them into stems and generates stems on an analysis server.

Every command takes --server HOST:PORT (or the environment variable MISMO_SERVER).

Examples:

    mismo separate song.flac -o stems

    mismo separate song.flac -o stems --playhead 1:30 --format flac

    mismo separate az://audio-files/song.mp3 -o stems

    mismo separate song.flac -o stems --export mp3,stem.mp4

    mismo generate bass drums --bpm 120 --style rock -o out

    mismo analyze song.flac --plot song.png

    mismo compare first.flac second.flac

    mismo submit song.flac --stage loudness --wait

    mismo watch --all

    mismo --help, mismo separate --help
""",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

for command in (
    separate,
    generate,
    analyze,
    compare,
    submit,
    jobs,
    watch,
    update,
    replay,
    cancel,
    delete,
    read,
    waveform,
    export,
    link,
    info,
    models,
    stages,
):
    app.command()(command)
