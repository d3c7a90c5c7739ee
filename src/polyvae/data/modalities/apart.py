"""Columns of a table or channels of fields, taken apart into modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from polyvae.checks.names import near
from polyvae.data.columns.kinds import parsed, some
from polyvae.data.columns.labels import KNOWN
from polyvae.data.errors import DataError
from polyvae.data.memory_maps import blanked
from polyvae.data.modalities.groups import Groups, several
from polyvae.data.readers.arrays import spec_of
from polyvae.data.whole import Whole, joined_spec
from polyvae.model.presence import present
from polyvae.model.spec import Spec

GAPS = "kept as gaps"  # of the notes that readers make of what is missing, which the flags of modalities say too


def apart(whole: Whole, groups: Groups, gaps: bool) -> Whole:
    """The whole with a modality for each group of columns of x [N, D, ...]; other columns are left out.

    A row has a modality if it has all values of its columns; one of which it has some is noted, and lacks it. Columns
    without names are called by their number. `gaps`: whether labels may be missing. Raises DataError for a column that
    the data do not have.
    """
    first = next(iter(whole.parts.values()))
    if "x" not in first:
        expected = f"values called {', '.join(column for columns in groups.values() for column in columns)}"
        raise DataError(whole.name, expected, f"{', '.join(first)}", "name these, or columns of x")
    count = first["x"].shape[1]
    features = whole.features.get("x", ())
    names = [each.name for each in features] if len(features) == count else [str(place) for place in range(count)]
    if unknown := [name for columns in groups.values() for name in columns if name not in names]:
        expected = f"modalities of the columns {some(names)}"
        raise DataError(whole.name, expected, f"{unknown[0]!r}{near(unknown[0], names)}")
    check_labels(whole, gaps)
    places = {name: [names.index(column) for column in columns] for name, columns in groups.items()}
    notes = [note for note in whole.notes if GAPS not in note]
    parts: dict[str, Mapping[str, Tensor]] = {}
    specs: dict[str, Spec] = {}
    for part, tensors in whole.parts.items():
        made: Mapping[str, Tensor] = {name: value for name, value in tensors.items() if name not in ("x", "seen")}
        seen = tensors["seen"].expand_as(tensors["x"]) if "seen" in tensors else None
        for name, chosen in places.items():
            made = {**made, name: tensors["x"][:, chosen].contiguous()}
            found = replace(spec_of({"x": made[name]}), classes=None)
            specs[name] = joined_spec(specs[name], found, part) if name in specs else found
            if seen is not None:
                made, said = marked(made, name, seen[:, chosen])
                notes += [f"{whole.name}: {said}"] if said else []
        parts[part] = made
    known = {name: tuple(features[place] for place in chosen) for name, chosen in places.items() if features}
    return replace(whole, parts=parts, spec=several(whole.spec, specs), features=known, notes=tuple(notes))


def marked(tensors: Mapping[str, Tensor], name: str, seen: Tensor) -> tuple[Mapping[str, Tensor], str]:
    """The tensors with a modality's flag, True where all its values are `seen` [N, ...], and a note on rows of some."""
    there = seen.flatten(1).all(1)
    partly = int((seen.flatten(1).any(1) & ~there).sum())
    if bool(there.all()):
        return tensors, ""
    note = f"{partly:,} rows have some of the values of {name} and not all, and are taken to lack it" if partly else ""
    return {**blanked(tensors, name, there), present(name): there}, note


def check_labels(whole: Whole, gaps: bool) -> None:
    """DataError where labels are missing and may not be."""
    if not gaps and any(KNOWN in tensors for tensors in whole.parts.values()):
        missing = sum(int((~tensors[KNOWN]).sum()) for tensors in whole.parts.values() if KNOWN in tensors)
        raise DataError(
            whole.name, "a label in every row", f"{missing:,} missing", "drop these rows, or give gaps=True"
        )


def same_flags(parts: Mapping[str, Mapping[str, Tensor]], names: Sequence[str]) -> dict[str, Mapping[str, Tensor]]:
    """The parts with a flag in all of them where one of them has it."""
    flags = [present(name) for name in names if any(present(name) in tensors for tensors in parts.values())]
    made = {}
    for part, tensors in parts.items():
        count = len(next(iter(tensors.values())))
        made[part] = {flag: torch.ones(count, dtype=torch.bool) for flag in flags} | dict(tensors)
    return made


def kinds_of(kind: Mapping[str, str] | str | None, groups: Groups) -> Mapping[str, str] | str | None:
    """The kinds by column, where some are asked for by the name of a modality."""
    kind = parsed(kind)
    if not isinstance(kind, Mapping):
        return kind
    every = {column for columns in groups.values() for column in columns}
    made: dict[str, str] = {}
    for name, each in kind.items():
        made |= dict.fromkeys(groups[name], each) if name in groups and name not in every else {name: each}
    return made
