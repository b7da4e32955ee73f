"""Renders measured rows as a table for a terminal, for the documentation, and for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table
from rich.text import Text

HEADINGS = ("what", "reach", "measured", "met")
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
"""The marks around the figures in a document."""

Figure = float | int | str | Sequence[float]


@dataclass(frozen=True)
class Row:
    """One promise and its measured value; `met` is None if nothing was promised."""

    case: str
    what: str
    reach: str
    measured: str
    met: bool | None
    figures: Mapping[str, Figure] = field(default_factory=dict[str, Figure])
    """Single values behind `measured`, in the units of their names."""

    @property
    def verdict(self) -> str:
        """`met` as a word."""
        return {True: "yes", False: "no", None: ""}[self.met]

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """The cells of the printed row."""
        return self.what, self.reach, self.measured, self.verdict


def failed(case: str, what: str, reason: str) -> Row:
    """The row of a case that could not be measured."""
    return Row(case, what, "", f"could not be measured: {reason}", met=False)


def rich_table(rows: Sequence[Row]) -> Table:
    """Renders the table for a terminal."""
    table = Table(show_lines=True)
    for heading in HEADINGS:
        table.add_column(heading)
    styles = {True: "green", False: "bold red", None: ""}
    for row in rows:
        # As Text: square brackets are no markup here.
        cells = [Text(cell) for cell in row.cells]
        cells[-1].stylize(styles[row.met])
        table.add_row(*cells)
    return table


def markdown_table(rows: Sequence[Row]) -> str:
    """Renders the table for a document."""
    lines = [_line(HEADINGS), _line(["---"] * len(HEADINGS)), *(_line(row.cells) for row in rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    escaped = [cell.replace("|", "\\|").replace("\n", " ") for cell in cells]
    return f"| {' | '.join(escaped)} |"


def json_report(rows: Sequence[Row], machine: Mapping[str, str]) -> str:
    """For programs."""
    entries = [
        {
            "case": row.case,
            "what": row.what,
            "reach": row.reach,
            "measured": row.measured,
            "met": row.met,
            "figures": dict(row.figures),
        }
        for row in rows
    ]
    return json.dumps({"machine": dict(machine), "rows": entries}, indent=2) + "\n"


def write_markdown(path: Path, rows: Sequence[Row], machine: Mapping[str, str]) -> None:
    """Writes machine and table to a file: between its marks if it has them, else as the whole file."""
    facts = "".join(f"- {name}: {value}\n" for name, value in machine.items())
    block = f"{facts}\n{markdown_table(rows)}"
    text = path.read_text() if path.exists() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    path.write_text(f"{before}{begin}\n\n{block}\n{end}{after}" if begin and end else block)
