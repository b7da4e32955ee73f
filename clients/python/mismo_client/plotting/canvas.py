"""A figure in pixels, with the origin at the top left."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch, Polygon, Rectangle

from mismo_client.plotting.style import BACKGROUND, DPI, HEIGHT, POINTS, TEXT, WIDTH

Weight = Literal["normal", "bold"]
Align = Literal["left", "center", "right"]
ELLIPSIS = "…"


class Canvas:
    """What the parts of the picture draw with; all lengths are in pixels, `y` grows downwards."""

    def __init__(self) -> None:
        self.figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor=BACKGROUND)
        self._agg = FigureCanvasAgg(self.figure)
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()
        self.axes.set_xlim(0, WIDTH)
        self.axes.set_ylim(HEIGHT, 0)

    @cached_property
    def _renderer(self) -> Any:
        return self._agg.get_renderer()

    def text_width(self, text: str, size: float, weight: Weight = "normal") -> float:
        """Pixels from the left to the right of a line of text."""
        font = FontProperties(size=size * POINTS, weight=weight)
        return float(self._renderer.get_text_width_height_descent(text, font, ismath=False)[0])

    def fitting(self, text: str, size: float, width: float, weight: Weight = "normal") -> str:
        """The text, cut and with an ellipsis if it is wider than `width`."""
        if self.text_width(text, size, weight) <= width:
            return text
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            if self.text_width(text[:middle].rstrip() + ELLIPSIS, size, weight) <= width:
                low = middle
            else:
                high = middle - 1
        return text[:low].rstrip() + ELLIPSIS

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        *,
        colour: str = TEXT,
        weight: Weight = "normal",
        align: Align = "left",
        order: float = 5,
        upright: bool = False,
    ) -> None:
        """One line, its middle at `y`; `upright` turns it to be read from below."""
        self.axes.text(
            x,
            y,
            text,
            fontsize=size * POINTS,
            color=colour,
            weight=weight,
            ha=align,
            va="center" if upright else "center_baseline",
            rotation=90 if upright else 0,
            zorder=order,
            # A dollar sign in a title begins no formula.
            parse_math=False,
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        colour: str,
        *,
        radius: float = 0,
        alpha: float = 1,
        order: float = 1,
    ) -> None:
        """A filled rectangle, its top left corner at (x, y)."""
        radius = min(radius, width / 2, height / 2)
        if radius < 1:
            patch = Rectangle((x, y), width, height)
        else:
            patch = FancyBboxPatch(
                (x + radius, y + radius),
                width - 2 * radius,
                height - 2 * radius,
                boxstyle=f"round,pad={radius}",
            )
        patch.set(facecolor=colour, alpha=alpha, linewidth=0, zorder=order)
        self.axes.add_patch(patch)

    def boxes(self, spans: Sequence[tuple[float, float, str]], y: float, height: float) -> None:
        """Many filled rectangles of one height: from, to, colour."""
        patches = [Rectangle((start, y), end - start, height) for start, end, _ in spans]
        colours = [colour for _, _, colour in spans]
        self.axes.add_collection(
            PatchCollection(patches, facecolors=colours, edgecolors="none", zorder=1), autolim=False
        )

    def ticks(
        self,
        places: Sequence[float],
        y: float,
        end: float,
        colour: str,
        *,
        width: float = 1,
        alpha: float = 1,
        order: float = 3,
    ) -> None:
        """Vertical lines from `y` to `end`."""
        lines = [((x, y), (x, end)) for x in places]
        self.axes.add_collection(
            LineCollection(lines, colors=colour, linewidths=width * POINTS, alpha=alpha, zorder=order),
            autolim=False,
        )

    def polygon(self, points: Sequence[tuple[float, float]], colour: str) -> None:
        """A filled polygon."""
        self.axes.add_patch(Polygon(points, closed=True, facecolor=colour, linewidth=0, zorder=4))

    def area(
        self,
        x: Sequence[float] | np.ndarray[Any, Any],
        top: Sequence[float] | np.ndarray[Any, Any],
        bottom: Sequence[float] | np.ndarray[Any, Any] | float,
        colour: str,
        *,
        alpha: float = 1,
        order: float = 2,
    ) -> None:
        """A filled area between two curves."""
        self.axes.fill_between(
            np.asarray(x), np.asarray(top), np.asarray(bottom), color=colour, alpha=alpha, lw=0, zorder=order
        )

    def curve(
        self,
        x: Sequence[float] | np.ndarray[Any, Any],
        y: Sequence[float] | np.ndarray[Any, Any],
        colour: str,
        *,
        width: float = 2,
        order: float = 4,
    ) -> None:
        """A line through points."""
        self.axes.plot(np.asarray(x), np.asarray(y), color=colour, linewidth=width * POINTS, zorder=order)
