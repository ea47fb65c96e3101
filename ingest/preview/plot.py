"""Curves to pictures: a labelled plot, and a bare line for thumbnails; matplotlib's Agg, without pyplot or a screen."""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

DPI = 128
LINE = "#1f4e79"
INK = "#333333"
BINS = 3_000  # across the plot: more samples are drawn as the span of those in a bin
DECADES = 20.0  # the ratio of an axis's ends from which on it is logarithmic
HIDDEN_PERCENT = 0.1  # of the samples at either end may lie beyond the plot: spikes would flatten all the rest
# matplotlib's caches of fonts and glyphs are not made for several threads, which jobs are.
_drawing = threading.Lock()


@dataclass(frozen=True, slots=True)
class Trace:
    """A curve and what its axes are. x, y: shape (n,); a NaN in y breaks the line."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    x_label: str
    y_label: str
    title: str = ""

    @property
    def is_drawable(self) -> bool:
        """Two samples at least, of finite place and value."""
        return int((np.isfinite(self.x) & np.isfinite(self.y)).sum()) >= 2


def plot(trace: Trace, size: tuple[int, int]) -> Image.Image:
    """The curve with labelled axes, as an RGB picture of size (width, height), pixels."""
    with _drawing:
        figure = _figure(size, ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))  # inches
        axes = figure.add_subplot()
        _draw(axes, trace, 0.9)
        axes.set_xlabel(_plain(trace.x_label), color=INK)
        axes.set_ylabel(_plain(trace.y_label), color=INK)
        axes.set_title(
            _plain(trace.title), color=INK, fontsize=11, loc="right"
        )  # at the left stands the axis's power of ten
        if spans_decades(trace.x):
            axes.set_xscale("log")
        else:
            axes.ticklabel_format(axis="x", useOffset=False)
            axes.xaxis.set_major_locator(MaxNLocator(7))
        axes.tick_params(colors=INK, labelsize=9, direction="in", top=True, right=True)
        axes.grid(True, color="#e5e5e5", linewidth=0.6)
        axes.set_axisbelow(True)
        for spine in axes.spines.values():
            spine.set_color("#999999")
        return _picture(figure)


def sparkline(trace: Trace, size: tuple[int, int]) -> Image.Image:
    """The curve alone."""
    with _drawing:
        figure = _figure(size)
        axes = figure.add_axes((0.03, 0.05, 0.94, 0.9))
        _draw(axes, trace, 1.1)
        if spans_decades(trace.x):
            axes.set_xscale("log")
        axes.set_axis_off()
        return _picture(figure)


def _figure(size: tuple[int, int], layout: ConstrainedLayoutEngine | None = None) -> Figure:
    return Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI, facecolor="white", layout=layout)


def _picture(figure: Figure) -> Image.Image:
    canvas: Any = FigureCanvasAgg(figure)  # whose methods say nothing of their types
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _draw(axes: Axes, trace: Trace, width: float) -> None:
    x, y = thinned(trace.x, trace.y)
    axes.plot(x, y, color=LINE, linewidth=width, solid_joinstyle="round", marker="." if len(x) < 20 else None)
    good = np.isfinite(trace.x) & np.isfinite(trace.y)
    axes.set_xlim(*_widened(float(trace.x[good].min()), float(trace.x[good].max()), 0.0))
    axes.set_ylim(*_widened(*heights(trace.y[good]), 0.06))


def spans_decades(x: NDArray[np.float64]) -> bool:
    """Whether an axis is better told by its logarithm: from the ultraviolet to the far infrared, say."""
    good = x[np.isfinite(x)]
    return bool(good.size and good.min() > 0 and good.max() > DECADES * good.min())


def heights(y: NDArray[np.float64]) -> tuple[float, float]:
    """The range of a curve's values that is worth the plot's height; all are finite.

    Lines in emission reach far above the rest and belong to it. What goes as far below it is the noise at the ends of a
    detector, and is left out.
    """
    lowest, low, high, highest = (
        float(each) for each in np.percentile(y, (HIDDEN_PERCENT, 3, 97, 100 - HIDDEN_PERCENT))
    )
    span = high - low
    if span > 0 and low - lowest > span and highest - high > span:
        return low - span / 2, high + span / 2
    return lowest, highest


def _widened(low: float, high: float, margin: float) -> tuple[float, float]:
    """The range with a margin, as a part of it, on both sides; a range of nothing gets one of its own size."""
    span = (high - low) * margin if high > low else abs(low) or 1.0
    return low - span, high + span


def thinned(
    x: NDArray[np.float64], y: NDArray[np.float64], bins: int = BINS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most two samples a bin of neighbours, the lowest and the highest, so that no line is lost."""
    size = -(-len(x) // bins)
    if size <= 2:
        return x, y
    count = -(-len(x) // size)
    padding = count * size - len(x)
    blocks = np.pad(y, (0, padding), constant_values=np.nan).reshape(count, size)
    places = np.pad(x, (0, padding), mode="edge").reshape(count, size)
    empty = np.isnan(blocks).all(axis=1, keepdims=True)
    lowest = np.where(np.isfinite(blocks), blocks, np.inf).argmin(axis=1)
    highest = np.where(np.isfinite(blocks), blocks, -np.inf).argmax(axis=1)
    chosen = np.sort(np.column_stack([lowest, highest]), axis=1)
    rows = np.arange(count)[:, None]
    values = np.where(empty, np.nan, blocks[rows, chosen])
    return places[rows, chosen].ravel(), values.ravel()


def _plain(text: str, longest: int = 90) -> str:
    """Text from a header, drawn as it is written: a dollar would begin mathematics."""
    text = " ".join(text.split()).replace("$", r"\$")
    return text if len(text) <= longest else text[: longest - 1] + "…"
