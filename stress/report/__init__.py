"""One self-contained page from the results of an experiment: no font, no picture, no script from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from faceswap_hq.files import atomic_path, write_bytes

if TYPE_CHECKING:
    from stress.data.crops import Crops

__all__ = ["render_report", "write_report", "write_tables"]

_FOLDER = Path(__file__).parent


def write_report(
    results: Mapping[str, Any], scores: pd.DataFrame, path: str | Path, *, crops: Sequence[Crops] = ()
) -> Path:
    """Write the page, whole or not at all.

    Args:
        results: ``Outcome.results``, or what results.json holds.
        scores: ``Outcome.scores``, or what scores.parquet holds.
        path: Where the page goes.
        crops: Faces of the stress clips, for the gallery. Without them there is none.

    Returns:
        ``path``.
    """
    write_bytes(path, render_report(results, scores, crops=crops).encode())
    return Path(path)


def write_tables(results: Mapping[str, Any], scores: pd.DataFrame, directory: str | Path) -> list[Path]:
    """Write tables.csv and tables.parquet: every number of the page, a row each.

    Args:
        results: ``Outcome.results``, or what results.json holds.
        scores: ``Outcome.scores``, or what scores.parquet holds.
        directory: Where they go.

    Returns:
        The two files.
    """
    from stress.report.tidy import tidy, to_csv

    table = tidy(results, scores)
    paths = [Path(directory) / name for name in ("tables.csv", "tables.parquet")]
    write_bytes(paths[0], to_csv(table).encode())
    with atomic_path(paths[1]) as temporary:
        table.to_parquet(temporary, index=False)
    return paths


def render_report(results: Mapping[str, Any], scores: pd.DataFrame, *, crops: Sequence[Crops] = ()) -> str:
    """The page as a string; see :func:`write_report`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from stress.report import drawings, sections, tables, verdict, words
    from stress.report.gallery import gallery
    from stress.report.where import where

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": words.percent,
        "short": words.short,
        "plain": words.plain,
        "chance": words.chance,
        "letter": lambda place: string.ascii_lowercase[place % 26],
    }
    main, how = drawings.of_main(results, scores), results["settings"].get("video_score", "mean")
    pictures = {
        "overview": drawings.overview(results),
        "distributions": drawings.distributions(main, how),
        "roc": drawings.roc(main, how),
    }
    if results.get("ladder"):
        pictures["ladder"] = drawings.ladder(results)
    if results.get("strategies"):
        pictures["strategies"] = drawings.strategies(results)
    script = _script()
    faces, levels, strategies = gallery(results, scores, crops), tables.rows(results), sections.strategies(results)
    return environment.get_template("report.html.j2").render(
        r=results,
        policy=_policy(script),
        script=Markup(script),  # noqa: S704 - our own file
        headline=verdict.headline(results),
        caution=verdict.caution(results),
        contents=sections.contents(results, len(faces["items"])),
        where=where(results, crops),
        basis=words.basis(results),
        interval=f"{100 * results['settings']['confidence']:g} %",
        gate=sections.gate(results),
        columns=tables.columns(results),
        levels=levels,
        notes=tables.notes(cell for level in levels for row in level["rows"] for cell in row["cells"]),
        strategies=strategies,
        seeds=sorted({seed for row in strategies for seed in row["seeds"]}),
        strategy_notes=tables.notes(cell for row in strategies for cell in row.values()),
        ladder=sections.ladder(results),
        robustness=sections.robustness(results),
        audit=sections.audit(results),
        fakes=tables.fakes(results),
        alarms=tables.alarms(results),
        gallery=faces,
        hashes=sections.hashes(results),
        methods=words.methods(results),
        drawings={name: Markup(svg) for name, svg in pictures.items()},  # noqa: S704 - matplotlib escapes its texts
    )


def _script() -> str:
    """The page's script: a file of its own that no data enters, so that its hash alone can be allowed."""
    return "\n" + (_FOLDER / "script.js.j2").read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """What the browser may do: show pictures that are in the page, and run this one script."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
