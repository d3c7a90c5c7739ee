"""A data set before it is split: a user's files, folders of pictures, fields and tables as checked tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from polyvae.data.columns.beside import names_of, set_aside
from polyvae.data.columns.categories import prepared
from polyvae.data.columns.table import Feature, Table, alike
from polyvae.data.cuts import TEST, apart
from polyvae.data.errors import DataError
from polyvae.data.files.cache import cached
from polyvae.data.options import Options
from polyvae.data.preprocessing import resized
from polyvae.data.readers.arrays import spec_of, tensors_of
from polyvae.data.readers.fields import field_names, fields
from polyvae.data.readers.paths import Draft, draft_of, place_of, tables_of
from polyvae.model.spec import Spec

BLOCKS = 15  # of consecutive times in a user's fields, fewer where these would not be runs of two


@dataclass(frozen=True)
class Whole:
    """A data set before it is split: tensors by part and name; `call` is what loads it again,
    a name or paths by name.

    `share`, `test`: how much is cut for validation and test. `blocks`: the number of blocks that a series is cut in; 0
    cuts at random. `features`: what the reader knows of the columns of what is observed, by its name, x or that of a
    modality. `notes`: its remarks. `draft`: what is still to be read; the part "all" then holds the numbers of its
    examples. `own`: whether it is a user's, whose seeds are kept `apart`. `cut`: how its three parts were cut already,
    in words.
    """

    name: str
    call: str | Mapping[str, str]
    parts: Mapping[str, Mapping[str, Tensor]]
    spec: Spec
    share: float = 0.1
    test: float = TEST
    blocks: int = 0
    features: Mapping[str, tuple[Feature, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    draft: Draft | None = None
    own: bool = False
    cut: str = ""

    @property
    def origin(self) -> str:
        """The part from which parts without an official version are cut."""
        return "all" if "all" in self.parts else "train"

    def seed(self, seed: int) -> int:
        """The seed of random choices."""
        return apart(seed) if self.own else seed

    def length(self, part: str) -> int:
        return len(next(iter(self.parts[part].values())))


# A part of the result: the part it is taken from, and which of its examples (None: all).
Cut = tuple[str, Tensor | None]


def from_path(path: Path, options: Options) -> Whole:
    """The data at a path; with a limit on a folder or an .npy only a draft, which `read_draft` reads after the split.

    Raises DataError.
    """
    draft = draft_of(path, options)
    if path.suffix.lower() == ".npz" and (names := field_names(path)):
        if options.label:
            raise DataError(path, f"labels under the name {options.label!r}", f"fields {names}", "leave the label away")
        return _from_fields(path, names, options)
    if draft is not None and draft.count and options.limit is not None:
        rows = {"row": torch.arange(draft.count)} | ({} if draft.y is None else {"y": torch.from_numpy(draft.y)})
        return Whole(path.name, str(path), {"all": rows}, Spec((1,)), draft=draft, own=True)
    tables = (
        {"all": draft.read(None)[0]}
        if draft is not None
        else tables_of(path, options.label, options.skip_bad, options.gaps)
    )
    options = replace(options, size=None) if draft is not None and draft.sized else options
    places = {part: place_of(path, part) for part in tables}
    named = {places[part]: found for part, found in tables.items()}
    whole = from_tables(named, places, options, path.name, str(path))
    return in_three(whole)


def in_three(whole: Whole) -> Whole:
    """The whole, all of it to be cut in three where there is no test part."""
    if {*whole.parts}.isdisjoint(("test", "all")):
        return replace(whole, parts={"all": pooled(whole).parts["train"]})
    return whole


def from_tables(
    tables: Mapping[str, Table], places: Mapping[str, str], options: Options, name: str, call: str
) -> Whole:
    """Checked tensors of the tables; `places` gives each part ("all", or "train", ...) its table, which errors name."""
    found = alike(prepared(tables, options.kind))
    parts: dict[str, dict[str, Tensor]] = {}
    specs: dict[str, Spec] = {}
    for part, place in places.items():
        tensors = tensors_of(found[place], place)
        if options.size is not None and "seen" in tensors:
            raise DataError(name, "whole pictures, to be resized", "pictures with gaps", "leave the size away")
        if options.size is not None:
            x = tensors.get("x")
            if x is None or x.ndim != 4:
                raise DataError(name, "pictures, to be resized", "other data", "leave the size away")
            tensors["x"] = torch.from_numpy(resized(x.numpy(), options.size, options.centre))
        parts[part], specs[part] = tensors, spec_of(tensors)
    first, *others = specs
    aside = set_aside(_masked(parts), found[places[first]].features, names_of(options.beside), name)
    parts = aside.parts
    if aside.beside and "x" in parts[first]:
        specs = {part: replace(spec, x=tuple(parts[part]["x"].shape[1:])) for part, spec in specs.items()}
    spec = specs[first]
    for part in others:
        spec = joined_spec(spec, specs[part], places[part])
    spec = replace(spec, label=found[places[first]].label, beside=aside.beside)
    if labels := found[places[first]].labels:
        spec = replace(spec, classes=len(labels), labels=labels)
    notes = tuple(note for table in found.values() for note in table.notes)
    return Whole(name, call, parts, spec, features={"x": aside.features}, notes=notes, own=True)


def _masked(parts: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """The parts, with a mask of what is seen in all of them if one of them has it."""
    shapes = {part: tensors["seen"].shape[1:] for part, tensors in parts.items() if "seen" in tensors}
    if not shapes:
        return parts
    wide = max(shapes.values(), key=lambda shape: shape.numel())
    made = {}
    for part, tensors in parts.items():
        seen = tensors["seen"] if part in shapes else torch.ones(1, *wide, dtype=torch.bool)
        made[part] = {**tensors, "seen": seen.expand(len(tensors["x"]), *wide).contiguous()}
    return made


def _from_fields(path: Path, names: list[str], options: Options) -> Whole:
    """A user's fields, values unscaled; a series if the file holds times."""
    arrays = cached("fields", {"notes": True}, [path], lambda: fields(path, names))
    notes = tuple(arrays.pop("notes").tolist())
    if options.size is not None:
        arrays["x"] = resized(arrays["x"], options.size, options.centre)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    spec = Spec(tuple(tensors["x"].shape[1:]), levels=None)
    features = tuple(Feature(name, "float") for name in names)
    return Whole(
        path.name,
        str(path),
        {"all": tensors},
        spec,
        blocks=min(BLOCKS, max(3, len(arrays["x"]) // 2)) if "t" in tensors else 0,
        features={"x": features},
        notes=notes,
        own=True,
    )


def read_draft(whole: Whole, draft: Draft, cuts: Mapping[str, Cut], options: Options) -> tuple[Whole, dict[str, Cut]]:
    """Reads the examples that the cuts keep, and returns the cuts as indices of these."""
    rows = torch.cat([torch.arange(draft.count) if index is None else index for _, index in cuts.values()])
    table, found = draft.read(rows.unique().numpy())
    options = replace(options, size=None) if draft.sized else options
    path = str(whole.call)
    filled = from_tables({path: table}, {"all": path}, options, whole.name, path)
    place = torch.full((draft.count,), -1)
    place[torch.from_numpy(found)] = torch.arange(len(found))
    made: dict[str, Cut] = {}
    for part, (origin, index) in cuts.items():
        places = place if index is None else place[index]
        made[part] = (origin, places[places >= 0])
    return filled, made


def joined_spec(train: Spec, other: Spec, part: str) -> Spec:
    """The spec of both, or a DataError if they differ; one part may have fewer labels or grey levels than the other."""
    if (train.x, train.y, train.classes is None) != (other.x, other.y, other.classes is None):
        raise DataError(part, f"examples as in train, {train}", f"{other}", "give all parts the same shapes and names")
    classes = None if train.classes is None else max(train.classes, other.classes or 0)
    levels = None if None in (train.levels, other.levels) else max(train.levels or 0, other.levels or 0)
    return replace(train, classes=classes, levels=levels)


def pooled(whole: Whole) -> Whole:
    """Training and validation part as one training part."""
    parts = dict(whole.parts)
    if "validation" not in parts:
        return whole
    held = parts.pop("validation")
    parts["train"] = {name: torch.cat([tensor, held[name]]) for name, tensor in parts["train"].items()}
    return replace(whole, parts=parts)
