"""Commands about the server: info, models, stages."""

from __future__ import annotations

from typing import Annotated

import typer

from mismo_client.command.options import DEFAULT_SERVER, Json, Server
from mismo_client.command.render import (
    as_json,
    info_lines,
    model_lines,
    models_table,
    print_json,
    stages_table,
)
from mismo_client.command.run import answers, fail, notes, run


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


def stages(json: Json = False, server: Server = DEFAULT_SERVER) -> None:
    """List what can be done with a track, and why not the rest.

    Their names are what `mismo submit --stage` takes.

    Example:

        mismo stages
    """
    out = answers()
    known = run(server, lambda client: client.stages())
    if json:
        print_json(out, [as_json(one) for one in known])
    else:
        out.print(stages_table(known))
