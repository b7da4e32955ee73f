"""The command that generates stems."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mismo.analysis.v1.job_pb2 import Priority
from mismo_client.client import AsyncClient
from mismo_client.command.options import (
    DEFAULT_SERVER,
    PRIORITIES,
    BlobPrefix,
    PriorityName,
    PriorityOption,
    Server,
    chords,
    seconds,
)
from mismo_client.command.progress import ProgressReporter
from mismo_client.command.run import fail, notes, run
from mismo_client.command.stem_commands import show_received
from mismo_client.command.stem_files import FileFormat, check_flac
from mismo_client.command.stem_job import Received, StemJob, StemTarget
from mismo_client.errors import ClientError

MAX_CHOSEN_SEED = 2**31 - 1
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class Generation:
    """What to generate; as in AsyncClient.generate."""

    stems: tuple[str, ...]
    bpm: float
    seconds: float
    style: str
    chords: tuple[str, ...]
    key: str
    prompt: str
    temperature: float
    seed: int
    generator: str
    blob_prefix: str
    priority: Priority

    async def receive(self, client: AsyncClient, target: StemTarget, reporter: ProgressReporter) -> Received:
        """Submits, receives, writes; see StemJob."""
        stem_job = StemJob(client, target, reporter, time.monotonic)
        submit = client.generate(
            self.stems,
            target_bpm=self.bpm,
            duration=self.seconds,
            style=self.style,
            chord_progression=self.chords,
            key=self.key,
            prompt=self.prompt,
            temperature=self.temperature,
            random_seed=self.seed,
            generator=self.generator,
            blob_prefix=self.blob_prefix,
            priority=self.priority,
        )
        return await stem_job.run(stem_job.submit(submit))


def generate(
    stems: Annotated[
        list[str],
        typer.Argument(
            help="Which stems: vocals, drums, bass, guitar, piano, synth, other.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", "--out", metavar="DIR", help="Stems go to DIR/STEM.wav.")
    ] = Path("generated"),
    bpm: Annotated[float, typer.Option(min=40.0, max=240.0, help="Beats a minute.")] = 120.0,
    duration: Annotated[str, typer.Option(metavar="TIME", help="The length: 10, 2:30.")] = "10",
    style: Annotated[str, typer.Option(help="Such as rock or jazz.", show_default="the seed decides")] = "",
    chord_text: Annotated[
        str,
        typer.Option(
            "--chords",
            metavar="SYMBOLS",
            help='One for each bar, repeated: "Am F C G".',
            show_default="the seed decides",
        ),
    ] = "",
    key: Annotated[
        str, typer.Option(help='As in "A minor".', show_default="that of the chords, else the seed decides")
    ] = "",
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MAX_SEED,
            help="The same seed and options give the same stems.",
            show_default="a random one, which is printed",
        ),
    ] = None,
    generator: Annotated[
        str, typer.Option(help="synthetic or musicgen.", show_default="the server's choice")
    ] = "",
    prompt: Annotated[str, typer.Option(help="A description in words, for musicgen.")] = "",
    temperature: Annotated[
        float,
        typer.Option(min=0.0, max=2.0, help="Sampling temperature, for musicgen; 0 stands for 1."),
    ] = 1.0,
    file_format: Annotated[FileFormat, typer.Option("--format", help="What to write.")] = FileFormat.WAV,
    priority: PriorityOption = PriorityName.NORMAL,
    blob_prefix: BlobPrefix = "",
    server: Server = DEFAULT_SERVER,
) -> None:
    """Generate stems from a description: tempo, chords, key, style, length.

    Stems are written as they are made. Files appear under their names when they are whole, and replace
    earlier ones. Ctrl-C cancels the job.

    Examples:

        mismo generate bass drums --bpm 120 --style rock --duration 30 -o out

        mismo generate piano --chords "Am F C G" --key "A minor" --seed 7

        mismo generate guitar --generator musicgen --prompt "slow blues"

    Exit code: 0 whole stems, 1 the server or the job failed, 2 wrong usage, 130 interrupted.
    """
    chosen = random.randint(0, MAX_CHOSEN_SEED) if seed is None else seed
    generation = Generation(
        stems=tuple(name.strip().lower() for text in stems for name in text.split(",") if name.strip()),
        bpm=bpm,
        seconds=seconds(duration, "--duration"),
        style=style,
        chords=chords(chord_text),
        key=key,
        prompt=prompt,
        temperature=temperature,
        seed=chosen,
        generator=generator,
        blob_prefix=blob_prefix,
        priority=PRIORITIES[priority],
    )
    if file_format is FileFormat.FLAC:
        try:
            check_flac()
        except ClientError as error:
            fail(str(error))
    target = StemTarget(output, file_format)
    with ProgressReporter(notes(), "generating") as reporter:
        done = run(server, lambda client: generation.receive(client, target, reporter))
    show_received(done)
    if seed is None:
        notes().print(f"the same stems again: --seed {chosen} with the same options", highlight=False)
