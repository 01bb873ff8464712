"""One self-contained page from the results of an experiment: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from faceswap_hq.files import write_bytes

if TYPE_CHECKING:
    from stress.data.crops import Crops

__all__ = ["render_report", "write_report"]


def write_report(
    results: Mapping[str, Any], scores: pd.DataFrame, path: str | Path, *, crops: Sequence[Crops] = ()
) -> Path:
    """Write the page, whole or not at all.

    Args:
        results: ``Outcome.results``, or what results.json holds.
        scores: ``Outcome.scores``, or what scores.parquet holds.
        path: Where the page goes.
        crops: Faces of the stress clips; those scored most real and most fake are shown. Without them none are.

    Returns:
        ``path``.
    """
    write_bytes(path, render_report(results, scores, crops=crops).encode())
    return Path(path)


def render_report(results: Mapping[str, Any], scores: pd.DataFrame, *, crops: Sequence[Crops] = ()) -> str:
    """The page as a string; see :func:`write_report`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from stress.report import drawings, tables, words
    from stress.report.gallery import gallery

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": words.percent, "short": words.short, "plain": words.plain}
    pictures = {
        "overview": drawings.overview(results),
        "distributions": drawings.distributions(scores),
        "roc": drawings.roc(scores),
    }
    return environment.get_template("report.html.j2").render(
        r=results,
        headline=words.headline(results),
        caution=words.caution(results),
        basis=words.basis(results),
        interval=f"{100 * results['settings']['confidence']:g} %",
        columns=tables.columns(results),
        levels=tables.rows(results),
        fakes=tables.fakes(results),
        alarms=tables.alarms(results),
        gallery=gallery(results, scores, crops),
        methods=words.methods(results),
        drawings={name: Markup(svg) for name, svg in pictures.items()},  # noqa: S704 - drawn by us from numbers alone
    )
