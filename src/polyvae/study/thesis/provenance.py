"""The report's words on how its runs were made: what was run, what chose the epoch, which precisions are compared."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from polyvae.study.document import Block, plain
from polyvae.study.thesis.claims import Judged
from polyvae.study.thesis.grid import FOLDS, methods
from polyvae.study.thesis.protocol import Protocol
from polyvae.study.thesis.table import Table
from polyvae.training.progress import duration


def facts(table: Table, protocol: Mapping[str, Any]) -> list[Block]:
    """What was run: how much, with what, on what."""
    rows = table.rows

    def distinct(column: str) -> str:
        held = Counter(str(row[column] or "unknown") for row in rows)
        return ", ".join(f"{name} ({count} runs)" if len(held) > 1 else name for name, count in sorted(held.items()))

    folds = sorted({row["fold"] for row in rows})
    train, validation = (sorted({row[part] for row in rows}) for part in ("train", "validation"))
    size = f"{_range(train)} training and {_range(validation)} validation images a run"
    epochs = f"{protocol['epochs']} epochs (best by validation), batches of {protocol['batch_size']}, AdamW at 1e-3"
    numbers = f"{len(rows)} runs on folds {', '.join(map(str, folds))} of {FOLDS}: {size}; {epochs}"
    narrow = f", networks with widths {protocol['widths']}" if protocol["widths"] else ""
    narrow += f", {protocol['decoder']} decoders" if protocol["decoder"] != "flat" else ""
    time = duration(sum(row["seconds"] for row in rows))
    machine = f"Device: {distinct('device')}; precision {distinct('precision')}; {time} of training in all"
    versions = f"polyvae {distinct('polyvae')} (commit {distinct('commit')}), torch {distinct('torch')}"
    return [plain(f"{numbers}{narrow}. {machine}. {versions}. {_joined(table)}Made by:")]


def _joined(table: Table) -> str:
    """What a table says of itself that was not made by one command."""
    words = []
    if len({row["precision"] for row in table.rows}) > 1:
        words.append("Runs of each precision were made in a folder of their own, and their tables joined.")
    by_cell = Counter(row["cell"] for row in table.rows)
    if len(set(by_cell.values())) > 1:
        words.append(
            f"Cells have {min(by_cell.values())} to {max(by_cell.values())} folds; what is compared are common ones."
        )
    return "".join(f"{each} " for each in words)


def chosen(table: Table) -> Block:
    """What chose the epoch that is reported, and how often there was something to choose."""
    last = sum(row["best_epoch"] == row["epochs"] for row in table.rows)
    words = (
        "The fold that is reported on is also the one that chose the epoch: it is no untouched test part, and an error "
        "of an epoch that was chosen is somewhat too small. "
    )
    of = f"In {last} of {len(table.rows)} runs the best epoch was the last one"
    groups = []
    for group in table.groups:
        runs = [run for method in table.methods(group) for run in table.runs(group, method.name).values()]
        groups.append(f"{group.title}: {sum(run['best_epoch'] == run['epochs'] for run in runs)} of {len(runs)}")
    each = f" ({'; '.join(groups)})" if len(groups) > 1 else ""
    return plain(f"{words}{of}{each}; there the choice changed nothing.")


def _range(values: Sequence[int]) -> str:
    return f"{values[0]:,}" if len(values) == 1 else f"{values[0]:,} to {values[-1]:,}"


def command(table: Table, protocol: Mapping[str, Any]) -> str:
    """The command that makes such a study; a line for each where runs differ in precision or cells in their folds."""
    return "\n".join(_command(part, {**protocol, "precision": name}) for name, part in _batches(table, protocol))


def _batches(table: Table, protocol: Mapping[str, Any]) -> list[tuple[str, Table]]:
    """Precisions and the runs of one command each, that of the study's settings first."""
    own = protocol["precision"]
    folds: dict[tuple[str, str], list[int]] = {}
    for row in table.rows:
        folds.setdefault((row["precision"] or own, row["cell"]), []).append(row["fold"])
    found: dict[tuple[bool, str, tuple[int, ...]], list[Mapping[str, Any]]] = {}
    for row in table.rows:
        name = row["precision"] or own
        found.setdefault((name != own, name, tuple(sorted(folds[name, row["cell"]]))), []).append(row)
    return [(key[1], Table(found[key])) for key in sorted(found)]


def _command(table: Table, protocol: Mapping[str, Any]) -> str:
    rows = table.rows
    words = ["polyvae", "study", "multitask", "--data", ",".join(dict.fromkeys(row["dataset"] for row in rows))]
    words += ["--family", ",".join(dict.fromkeys(group.family for group in table.groups))]
    words += ["--config", ",".join(str(config) for config in sorted({group.config for group in table.groups}))]
    words += ["--folds", ",".join(str(fold) for fold in sorted({row["fold"] for row in rows}))]
    words[-1] += "," if "," not in words[-1] else ""
    ran = {group: [method.name for method in table.methods(group)] for group in table.groups}
    every = [method.name for method in methods()]
    if len({tuple(names) for names in ran.values()}) > 1:
        names = [[f"{group.name}-*"] if mine == every else map(group.cell, mine) for group, mine in ran.items()]
        words += ["--only", ",".join(pattern for patterns in names for pattern in patterns)]
    elif (mine := next(iter(ran.values()))) != every:
        words += ["--only", ",".join(f"*-{name}" for name in mine)]
    for option in fields(Protocol):
        value = protocol[option.name]
        if value != option.default:
            told = ",".join(map(str, value)) if option.name == "widths" else str(value)
            words += [f"--{option.name.replace('_', '-')}", told]
    return shlex.join(words)


def mixtures(judged: Sequence[Judged]) -> list[Block]:
    """Which claims rest on a comparison of runs of different precisions; nothing where none does."""
    found = [
        f"({each.claim}) of {each.dataset}, configuration {each.config} ({each.mixed})" for each in judged if each.mixed
    ]
    if not found:
        return []
    words = "Some comparisons are of runs in different precisions, so that part of the difference may be arithmetic: "
    return [plain(f"{words}{', '.join(found)}. Which ones stands beside each number below.")]
