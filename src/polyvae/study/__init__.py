"""Grids of runs over folds: the study of multitask autoencoders, its tables and its verdicts."""

from polyvae.study.records import StudyError
from polyvae.study.statistics import Interval, interval, paired, verdict
from polyvae.study.thesis.claims import Judged, Part, judge
from polyvae.study.thesis.grid import Cell, Method, cells, methods
from polyvae.study.thesis.published import Published, published
from polyvae.study.thesis.records import Records
from polyvae.study.thesis.report import Report, report
from polyvae.study.thesis.run import Job, Protocol, run
from polyvae.study.thesis.study import Outcome, Plan, multitask
from polyvae.study.thesis.table import Group, Table

__all__ = [
    "Cell",
    "Group",
    "Interval",
    "Job",
    "Judged",
    "Method",
    "Outcome",
    "Part",
    "Plan",
    "Protocol",
    "Published",
    "Records",
    "Report",
    "StudyError",
    "Table",
    "cells",
    "interval",
    "judge",
    "methods",
    "multitask",
    "paired",
    "published",
    "report",
    "run",
    "verdict",
]
