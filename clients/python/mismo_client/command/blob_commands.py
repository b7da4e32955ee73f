"""The command about results in the server's blob container."""

from __future__ import annotations

from typing import Annotated

import typer

from mismo_client.command.options import DEFAULT_SERVER, Json, Server, lifetime
from mismo_client.command.render import as_json, local_time, print_json
from mismo_client.command.run import answers, notes, run


def link(
    job: Annotated[str, typer.Argument(help="A job's id.")],
    name: Annotated[
        str, typer.Argument(help="One of its blobs, as `mismo jobs JOB` shows them: stems/vocals.wav.")
    ],
    expires: Annotated[
        str, typer.Option(metavar="TIME", help="How long the link works: 90s, 30m, 1h, up to 7d.")
    ] = "1h",
    json: Json = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Print a link to a result in the blob container; anyone who has it can download the result.

    Needs a server with a container in Azure or S3.

    Examples:

        mismo link 0f3c5a stems/vocals.wav

        curl -o vocals.wav "$(mismo link 0f3c5a stems/vocals.wav --expires 10m)"
    """
    ttl = lifetime(expires, "--expires")
    made = run(server, lambda client: client.create_blob_link(job, name, ttl))
    if json:
        print_json(answers(), as_json(made))
        return
    typer.echo(made.url)
    notes().print(f"expires {local_time(made.expire_time, '%Y-%m-%d %H:%M:%S')}", highlight=False)
