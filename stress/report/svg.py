"""SVG that belongs to the page: matplotlib's, stripped to what a page needs and coloured by the page's own colours."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Stand-ins that become CSS variables, so that one drawing serves light, dark and paper.
COLORS = {
    "ink": "#010101",
    "muted": "#020202",
    "rule": "#030303",
    "own": "#040404",
    "before": "#050505",
    "after": "#060606",
    "paper": "#070707",
    "real": "#080808",
}
_WIDTH = 9.6  # inches at 100 units each: the page's measure


def new_figure(height: float, columns: int = 1, **kwargs: Any) -> tuple[Figure, list[Axes]]:
    """A figure of the page's width and ``height`` inches, with a row of bare axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False, **kwargs)[0]
    for axis in axes:
        axis.set_facecolor("none")
        for side in ("top", "right", "left"):
            axis.spines[side].set_visible(False)
        axis.spines["bottom"].set_color(COLORS["rule"])
        axis.tick_params(colors=COLORS["muted"], labelsize=9, length=3, color=COLORS["rule"])
    return figure, list(axes)


def to_svg(figure: Figure, label: str) -> str:
    """The figure as an inline SVG element without document type, metadata or addresses.

    Args:
        figure: Texts that come from data must have been set with ``parse_math=False``.
        label: What a screen reader says; ours, never from data.
    """
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.S)
    for name, color in COLORS.items():
        text = text.replace(color, f"var(--{name})")
    text = re.sub(r"font: (\w+ )?([\d.]+)px [^;\"]*", r"font: \1\2px var(--sans)", text)
    text = re.sub(r'^<svg[^>]*viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" role="img" aria-label="{label}">', text)
    return re.sub(r'\bid="(?!m|p|c)[\w]+"\s?', "", text)
