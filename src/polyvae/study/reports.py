"""The report of a study, whichever it is of: its folder says."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from polyvae.study.records import STUDY, StudyError, read_study

WHERE = {
    "multitask": "polyvae.study.thesis.report",
    "compare": "polyvae.study.compare.report",
    "completion": "polyvae.study.completion.report",
    "disentangle": "polyvae.study.disentangle.report",
    "multimodal": "polyvae.study.multimodal.report",
    "rate-distortion": "polyvae.study.trade.report",
    "shapes": "polyvae.study.shapes.report",
}


def report(folder: str | Path) -> Any:
    """Writes REPORT.md with its figures and report.html into a study's folder, of its tables and pictures.

    What is returned has `markdown` and `page`, their paths, `text()`, its gist in some lines, and `as_dict()` for JSON.
    Raises StudyError for a folder without a study or without a run.
    """
    name = read_study(Path(folder)).get("study")
    if name not in WHERE:
        raise StudyError(f"{Path(folder) / STUDY} is of no study that this version knows: {name!r}")
    return import_module(WHERE[str(name)]).report(folder)
