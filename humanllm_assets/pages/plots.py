"""Plots of the reports as inline SVG: no script, no font file, no reference to anything outside; text takes the page's colour."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = ("#4c78a8", "#e07b39", "#54a24b", "#b279a2", "#9d755d", "#72a7b5", "#d4a72c", "#8c8c8c")
_INK = "#010203"  # stands for the page's text colour until the SVG is written
Bar = tuple[float, float, float] | None  # value, low, high


def _svg(draw: Callable[[Sequence[Axes]], None], title: str, size: tuple[float, float], panels: int = 1) -> str:
    import matplotlib

    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": title,
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.2,
        "axes.axisbelow": True,
        "legend.frameon": False,
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), _INK),
    }
    with matplotlib.rc_context(settings):
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots(1, panels, squeeze=False)[0]
        draw(list(axes))
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r'\s+xmlns(?::\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1), count=1)
    width = round(size[0] * 96)
    return svg.replace("<svg", f'<svg role="img" aria-label="{title}" style="width:100%;max-width:{width}px;height:auto"', 1)


def bars(
    title: str,
    groups: Mapping[str, Mapping[str, Bar]],
    label: str,
    log: bool = False,
    lines: Mapping[str, Mapping[str, float]] | None = None,
) -> str:
    """Grouped bars with intervals: groups on the x axis, one colour per series; absent bars stay empty.

    lines: per group, named levels to mark by a dash (chance, for example).
    """
    series = list(dict.fromkeys(s for g in groups.values() for s in g))
    width_in = max(6.0, min(11.0, 1.5 + (0.5 + 0.25 * len(series)) * len(groups)))
    # A legend wider than the figure is cut off at both ends: some 13 characters fit an inch, a mark takes the room of six.
    legend_columns = max(1, min(4, int(13 * width_in / (6 + max(map(len, series), default=0)))))

    def draw(axes: Sequence[Axes]) -> None:
        ax, width = axes[0], 0.8 / max(1, len(series))
        for n, name in enumerate(series):
            found = [(x, g[name]) for x, g in enumerate(groups.values()) if g.get(name) is not None]
            at = [x - 0.4 + width * (n + 0.5) for x, _ in found]
            values = [b[0] for _, b in found if b]
            errors = [[max(0.0, b[0] - b[1]) for _, b in found if b], [max(0.0, b[2] - b[0]) for _, b in found if b]]
            shown: Any = None if log or not any(map(any, errors)) else errors
            ax.bar(at, values, width * 0.92, label=name, color=COLORS[n % len(COLORS)], yerr=shown, ecolor=_INK, capsize=2)
        for level in dict.fromkeys(k for v in (lines or {}).values() for k in v):
            marks = [(x, (lines or {}).get(g, {}).get(level)) for x, g in enumerate(groups)]
            for x, y in marks:
                if y is not None:
                    ax.hlines(y, x - 0.45, x + 0.45, colors=_INK, linestyles="dashed", linewidth=1)
            ax.plot([], [], color=_INK, linestyle="dashed", linewidth=1, label=level)
        crowded = max(map(len, groups), default=0) > 14 or len(groups) * max(map(len, groups), default=0) > 80
        ax.set_xticks(range(len(groups)), list(groups), rotation=20 if crowded else 0, ha="right" if crowded else "center")
        ax.set_ylabel(label)
        ax.grid(axis="x", visible=False)
        if log:
            ax.set_yscale("log")
            ax.set_ylim(bottom=0.8)
        if len(series) > 1 or lines:
            ax.figure.legend(ncols=legend_columns, loc="outside upper center", fontsize=8)  # type: ignore[call-arg]

    return _svg(draw, title, (width_in, 3.4))


def ranked(title: str, values: Mapping[str, float], label: str) -> str:
    """Horizontal bars, largest on top, with their numbers."""
    order = sorted(values.items(), key=lambda x: (x[1], x[0]))

    def draw(axes: Sequence[Axes]) -> None:
        ax = axes[0]
        drawn = ax.barh([k for k, _ in order], [v for _, v in order], color=COLORS[0])
        ax.bar_label(drawn, [f" {v:,.0f}" for _, v in order], fontsize=8)
        ax.set_xlabel(label)
        ax.grid(axis="y", visible=False)
        ax.margins(x=0.15)

    return _svg(draw, title, (7.0, 0.7 + 0.26 * len(order)))


def histograms(title: str, counts: Mapping[str, Mapping[int, int]]) -> str:
    """One small histogram of scores 1-10 per name."""
    from matplotlib.ticker import MaxNLocator

    def draw(axes: Sequence[Axes]) -> None:
        for ax, (name, by_score) in zip(axes, counts.items(), strict=True):
            ax.bar(range(1, 11), [by_score.get(s, 0) for s in range(1, 11)], color=COLORS[0], width=0.85)
            ax.set_title(name, fontsize=9)
            ax.set_xticks([1, 5, 10])
            ax.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
            ax.grid(axis="x", visible=False)

    return _svg(draw, title, (max(3.0, 1.6 * len(counts)), 1.9), panels=len(counts))


def forest(title: str, differences: Mapping[str, tuple[float, float, float]], label: str) -> str:
    """Differences with intervals, one line each, against zero."""
    rows = list(differences.items())[::-1]

    def draw(axes: Sequence[Axes]) -> None:
        ax = axes[0]
        ax.axvline(0, color=_INK, linewidth=0.8)
        for y, (_, (value, low, high)) in enumerate(rows):
            color = COLORS[2] if low > 0 else COLORS[1] if high < 0 else COLORS[7]
            ax.plot([low, high], [y, y], color=color, linewidth=2)
            ax.plot([value], [y], "o", color=color, markersize=5)
        ax.set_yticks(range(len(rows)), [name for name, _ in rows])
        ax.set_ylim(-0.6, len(rows) - 0.4)
        ax.set_xlabel(label)

    return _svg(draw, title, (7.5, 0.8 + 0.27 * len(rows)))
