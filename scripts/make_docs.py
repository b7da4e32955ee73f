"""Writes docs/settings.md and docs/errors.md from the code; `--check` only says whether they are fresh."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo

from mismo_grpc.errors import DOMAIN, WIRE
from mismo_grpc.settings import GIB, MIB, Settings

ROOT = Path(__file__).resolve().parent.parent

SETTINGS_HEAD = """# Settings

Written by `make docs` from `mismo_grpc/settings.py`.

`server.py` takes the common ones as flags (`server.py --help`); each can be given in the environment.
A flag wins over the environment. Where a setting has several names, the first one found wins. Lists are
JSON: `MISMO_ALLOWED_PATH_PREFIXES='["/music"]'`. An empty value counts as not given.

"""

ERRORS_HEAD = f"""# Errors

Written by `make docs` from `mismo_grpc/errors.py`.

Every failed call carries `google.rpc.ErrorInfo` with the reason below and the domain `{DOMAIN}`; invalid
arguments also carry `BadRequest` with the field, and what may succeed later `RetryInfo`. A job that fails
while it runs carries the same reason in its `error`. Decide by reason, never by message.

"""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; bars inside cells are escaped."""
    columns = list(head)
    lines = [columns, ["---"] * len(columns), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def environment_names(name: str, field: FieldInfo) -> list[str]:
    """The environment variables that set a field, in the order they are looked at."""
    alias = field.validation_alias
    choices = [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else []
    prefixed = f"{Settings.model_config.get('env_prefix', '')}{name}".upper()
    names = [choice.upper() for choice in choices] + ([alias] if isinstance(alias, str) else []) + [prefixed]
    return list(dict.fromkeys(names))


def kind(annotation: Any) -> str:
    """A field's type in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in arguments)
    if origin in (Union, UnionType):
        return " or ".join(kind(choice) for choice in arguments if choice is not NoneType)
    if origin is list:
        return f"list of {kind(arguments[0])}s"
    names = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path"}
    return (names | {SecretStr: "secret"})[annotation]


def limits(field: FieldInfo) -> Iterator[str]:
    """A field's constraints in words."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    for rule in field.metadata:
        for attribute, sign in signs.items():
            if (bound := getattr(rule, attribute, None)) is not None:
                yield f"{sign} {quantity(bound)}"
        if pattern := getattr(rule, "pattern", None):
            yield f"`{pattern}`"


def quantity(value: object) -> str:
    """A default the way a person writes it; whole mebibytes and gibibytes as such."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value >= MIB and value % MIB == 0:
        return f"{value // GIB} GiB" if value % GIB == 0 else f"{value // MIB} MiB"
    return f"{value:g}" if isinstance(value, float) else str(value)


def default(field: FieldInfo) -> str:
    """A field's default; an empty list or secret, or none, is a dash."""
    value: object = field.get_default(call_default_factory=True)
    return "–" if value in (None, [], SecretStr("")) else f"`{quantity(value)}`"


def settings_page() -> str:
    """docs/settings.md as it should be."""
    rows = (
        (
            f"`{name}`",
            ", ".join([kind(field.annotation), *limits(field)]),
            default(field),
            "<br>".join(f"`{variable}`" for variable in environment_names(name, field)),
            (field.description or "").replace("<", "&lt;"),
        )
        for name, field in Settings.model_fields.items()
    )
    return SETTINGS_HEAD + table(["setting", "value", "default", "environment", "meaning"], rows)


def errors_page() -> str:
    """docs/errors.md as it should be."""
    rows = (
        (
            f"`{wire.reason}`",
            f"`{wire.grpc_code}`",
            str(wire.http_status),
            "yes" if wire.retryable else "no",
            f"`{error.__name__}`",
            (error.__doc__ or "").partition("\n")[0],
        )
        for error, wire in WIRE.items()
    )
    head = ["reason", "gRPC code", "HTTP status", "same call again?", "class", "meaning"]
    return ERRORS_HEAD + table(head, rows)


PAGES = {ROOT / "docs/settings.md": settings_page, ROOT / "docs/errors.md": errors_page}


def stale() -> list[Path]:
    """The pages that are not what the code says."""
    return [path for path, page in PAGES.items() if not path.exists() or path.read_text() != page()]


def main(arguments: list[str]) -> None:
    """Writes the pages, or with `--check` exits with an error that names the stale ones."""
    if arguments == ["--check"]:
        if old := stale():
            names = ", ".join(str(path.relative_to(ROOT)) for path in old)
            sys.exit(f"not what the code says: {names}; run `make docs` and commit")
        print("docs/ fits the code")
        return
    for path, page in PAGES.items():
        path.write_text(page())


if __name__ == "__main__":
    main(sys.argv[1:])
