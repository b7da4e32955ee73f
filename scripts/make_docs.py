"""Writes docs/settings.md and docs/errors.md from the code; `--check` only checks whether they are up to date."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo

from mismo_grpc.errors import DOMAIN
from mismo_grpc.settings import GIB, MIB, Settings
from mismo_grpc.wire_forms import WIRE

ROOT = Path(__file__).resolve().parent.parent

SETTINGS_HEAD = """# Settings

Written by `make docs` from `mismo_grpc/settings.py`.

`server.py` has flags for the common settings (`server.py --help`); every setting can be given in the environment.
A flag overrides the environment. If a setting has several names, the first one that is set counts. Lists are
JSON: `MISMO_ALLOWED_PATH_PREFIXES='["/music"]'`. An empty value counts as not set.

"""

ERRORS_HEAD = f"""# Errors

Written by `make docs` from `mismo_grpc/wire_forms.py`.

Every failed call has a `google.rpc.ErrorInfo` with the reason below and the domain `{DOMAIN}`. An error about a field
also has `BadRequest` with its name, and an error for which a retry helps has `RetryInfo`. A job that fails while it
runs has the same reason in its `error`. Programs should decide by the reason, never by the message.

"""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Renders a Markdown table; bars inside cells are escaped."""
    columns = list(head)
    lines = [columns, ["---"] * len(columns), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def environment_names(name: str, field: FieldInfo) -> list[str]:
    """Returns the environment variables that set a field, the first one that is set counts."""
    alias = field.validation_alias
    choices = [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else []
    prefixed = f"{Settings.model_config.get('env_prefix', '')}{name}".upper()
    names = [choice.upper() for choice in choices] + ([alias] if isinstance(alias, str) else []) + [prefixed]
    return list(dict.fromkeys(names))


def kind(annotation: Any) -> str:
    """Returns a field's type in words."""
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
    """Yields a field's constraints in words."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    for rule in field.metadata:
        for attribute, sign in signs.items():
            if (bound := getattr(rule, attribute, None)) is not None:
                yield f"{sign} {quantity(bound)}"
        if pattern := getattr(rule, "pattern", None):
            yield f"`{pattern}`"


def quantity(value: object) -> str:
    """Formats a value for readers, with whole mebibytes and gibibytes as such."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value >= MIB and value % MIB == 0:
        return f"{value // GIB} GiB" if value % GIB == 0 else f"{value // MIB} MiB"
    return f"{value:g}" if isinstance(value, float) else str(value)


def default(field: FieldInfo) -> str:
    """Returns a field's default; a dash for an empty list, text or secret, or None."""
    value: object = field.get_default(call_default_factory=True)
    return "–" if value in (None, "", [], SecretStr("")) else f"`{quantity(value)}`"


def settings_page() -> str:
    """Returns the content of docs/settings.md."""
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
    """Returns the content of docs/errors.md."""
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
    """Returns the pages that differ from the code."""
    return [path for path, page in PAGES.items() if not path.exists() or path.read_text() != page()]


def main(arguments: list[str]) -> None:
    """Writes the pages; with `--check` exits with an error that names the outdated ones."""
    if arguments == ["--check"]:
        if old := stale():
            names = ", ".join(str(path.relative_to(ROOT)) for path in old)
            sys.exit(f"outdated: {names}; run `make docs` and commit")
        print("docs/ is up to date")
        return
    for path, page in PAGES.items():
        path.write_text(page())


if __name__ == "__main__":
    main(sys.argv[1:])
