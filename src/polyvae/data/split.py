"""A data set in tensors: splits that are batched by index on their device, and the seeded cuts that make them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.data.columns.categories import prepared
from polyvae.data.columns.kinds import described, with_columns
from polyvae.data.columns.table import alike
from polyvae.data.errors import DataError, DataNote
from polyvae.data.readers.frames import library_of
from polyvae.data.readers.rows import Rows, cut_rows, selected
from polyvae.data.series import series_notes
from polyvae.data.tensors import spec_of, tables_apart, tensors_of
from polyvae.model.spec import Spec

TEST = 0.1  # share that is cut for testing where no test part is official
Transform = Callable[[dict[str, Tensor]], Mapping[str, Tensor]]


@dataclass(frozen=True, repr=False)
class Split:
    """Examples by name, kept compact and on one device; bytes are grey levels and leave as float32 in [0, 1].

    `tensors`: name -> [N, ...], uint8 pictures, float32 tables or pictures, int64 labels; `Rows` of larger ones where
    these are too large to be cut, of which a name gives a copy. `transform`: what is done to every batch (dynamic
    binarisation, dequantisation). Raises DataError without tensors or when their lengths differ.
    """

    tensors: Mapping[str, Tensor]
    transform: Transform | None = None

    def __post_init__(self) -> None:
        if isinstance(self.tensors, Rows):
            return
        lengths = {name: len(tensor) for name, tensor in self.tensors.items()}
        if not lengths:
            raise DataError("Split", "at least one named tensor", "none")
        if len(set(lengths.values())) > 1:
            raise DataError("Split", "as many examples under every name", f"{lengths}", "give each example every value")

    def __len__(self) -> int:
        if isinstance(self.tensors, Rows):
            return len(self.tensors.index)
        return len(next(iter(self.tensors.values())))

    def __repr__(self) -> str:
        held = self.tensors.heads if isinstance(self.tensors, Rows) else self.tensors
        values = ", ".join(f"{name} {list(value.shape[1:])} {value.dtype}" for name, value in held.items())
        return f"Split of {len(self):,} examples: {values.replace('torch.', '')}"

    @property
    def device(self) -> torch.device:
        """Where the tensors lie, and where an index must lie."""
        if isinstance(self.tensors, Rows):
            return self.tensors.index.device
        return next(iter(self.tensors.values())).device

    def to(self, device: torch.device | str) -> Split:
        """The same split on another device; a memory-mapped tensor is read on the way."""
        if isinstance(self.tensors, Rows):
            return replace(self, tensors=self.tensors.to(device))
        return replace(self, tensors={name: tensor.to(device) for name, tensor in self.tensors.items()})

    def take(self, index: Tensor | Sequence[int]) -> Split:
        """The examples at `index` (integers [n]) as a split of their own, in that order; a run shares memory."""
        index = torch.as_tensor(index, dtype=torch.int64, device=self.device)
        if not isinstance(self.tensors, Rows) and len(index) and bool((index.diff() == 1).all()):
            first = int(index[0])
            parts = {name: tensor[first : first + len(index)] for name, tensor in self.tensors.items()}
            return replace(self, tensors=parts)
        return replace(self, tensors=cut_rows(self.tensors, index))

    def batch(self, index: Tensor) -> dict[str, Tensor]:
        """The examples at `index` (int64 [B], on the split's device), bytes divided by 255, then the transform."""
        values = {name: floats(tensor) for name, tensor in selected(self.tensors, index).items()}
        return values if self.transform is None else dict(self.transform(values))


def floats(tensor: Tensor) -> Tensor:
    """Bytes as float32: those of pictures are grey levels, those of a table the numbers that they are."""
    if tensor.dtype is not torch.uint8:
        return tensor
    return tensor.to(torch.float32).div_(255) if tensor.ndim > 2 else tensor.to(torch.float32)


@dataclass(frozen=True, repr=False)
class Data:
    """A data set cut in three, with its spec and the call that loads it again.

    `call`: the JSON-able arguments of `load`, empty for a user's own tensors. `cut`: how it was cut, in words,
    "" where the parts are given. `frame`: "pandas" or "polars", where it was a data frame. A test split of length 0:
    none was cut.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    spec: Spec
    call: Mapping[str, Any] = field(default_factory=dict)
    cut: str = ""
    frame: str | None = None

    def __repr__(self) -> str:
        spec, parts = self.spec, {part: getattr(self, part) for part in ("train", "validation", "test")}
        sizes = ", ".join(f"{part} {len(split):,}" for part, split in parts.items())
        y = (
            ""
            if spec.condition is None
            else f"; y {spec.y} numbers"
            if spec.classes is None
            else f"; {spec.classes} classes"
        )
        of = described(spec.columns) or ("real numbers" if spec.levels is None else f"{spec.levels} levels")
        count = sum(tensor.nbytes for split in parts.values() for tensor in split.tensors.values())
        cut = f", {self.cut}" if self.cut else ""
        return f"Data {self.name}: x {list(spec.x)}, {of}{y}\n  {sizes} examples{cut}, {count / 1e6:,.1f} MB"

    def to(self, device: torch.device | str) -> Data:
        """The same data with all three splits on `device`."""
        parts = {part: getattr(self, part).to(device) for part in ("train", "validation", "test")}
        return replace(self, **parts)


def permutation(count: int, seed: int) -> Tensor:
    """A seeded order of 0..count-1, int64 [count], the same on every machine and with every version of the libraries.

    It sorts the raw 64-bit words of PCG64, a stream that NumPy promises never to change.
    """
    words = np.random.PCG64(seed).random_raw(count)
    return torch.from_numpy(np.argsort(words, kind="stable").astype(np.int64))


def apart(seed: int) -> int:
    """The seed that chooses among a user's own rows, whose first column may be drawn from the words of `seed` itself.

    `numpy.random.default_rng(0).random(n)` sorts as `permutation(n, 0)` does: a test part would hold its smallest.
    """
    return int(np.random.SeedSequence(seed, spawn_key=(1,)).generate_state(1)[0])


def shuffled(count: int, seed: int) -> Tensor:
    """A seeded order of a part's examples, which may be a user's: a `permutation` with the seed kept `apart`."""
    return permutation(count, apart(seed))


def cut(count: int, parts: Sequence[int | float], seed: int) -> list[Tensor]:
    """Sorted index tensors of the remainder and of each part, cut from a seeded permutation of `count` examples.

    A part is a share (float below 1) or a number of examples (int); a share above zero is at least one example. The
    first tensor is what remains, then one a part. Raises ValueError when nothing would remain.
    """
    sizes = [part_size(count, part) for part in parts]
    if sum(sizes) >= count:
        raise ValueError(f"cannot cut parts of {sizes} examples from {count}: nothing remains to train on")
    order = permutation(count, seed)
    pieces = torch.split(order, [*sizes, count - sum(sizes)])
    return [piece.sort().values for piece in (pieces[-1], *pieces[:-1])]


def three_parts(count: int, validation: int | float, test: int | float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sorted indices of training, validation and test part: shares or numbers of `count`, the test part cut first.

    Whatever the validation part, or the fold in its place, the test part is the same. Raises ValueError as `cut`.
    """
    pool, tested = cut(count, [test], seed)
    rest, held = cut(len(pool), [part_size(count, validation)], seed)
    return pool[rest], pool[held], tested


def part_size(count: int, part: int | float) -> int:
    """Number of examples in a share (float in [0, 1)) or a number (int) of `count`."""
    if isinstance(part, float) and not 0 <= part < 1:
        raise ValueError(f"a share of the examples lies in [0, 1), a number of them is an int; got {part}")
    if part < 0:
        raise ValueError(f"a part holds at least 0 examples; got {part}")
    return part if isinstance(part, int) else max(1, round(part * count)) if part else 0


def kfold(count: int, folds: int, fold: int, seed: int) -> tuple[Tensor, Tensor]:
    """Sorted indices (rest, fold) of fold `fold` of `folds`; the folds share out all examples, sizes within one."""
    if not 2 <= folds <= count:
        raise ValueError(f"folds lies in 2..{count} (the number of examples); got {folds}")
    if not 0 <= fold < folds:
        raise ValueError(f"fold lies in 0..{folds - 1}; got {fold}")
    pieces = torch.tensor_split(permutation(count, seed), folds)
    rest = torch.cat([piece for number, piece in enumerate(pieces) if number != fold])
    return rest.sort().values, pieces[fold].sort().values


def stratified(labels: Tensor, count: int, seed: int) -> Tensor:
    """Sorted indices of `count` examples in which every class keeps its share, by largest remainder, at least one each.

    labels: int64 [N]. With fewer places than classes, the most frequent classes are served first.
    """
    if not 0 <= count <= len(labels):
        raise ValueError(f"a subset of {len(labels)} examples holds 0..{len(labels)} of them; got {count}")
    labels = labels.cpu()
    _, inverse, sizes = torch.unique(labels, return_inverse=True, return_counts=True)
    quota = sizes.double() * count / len(labels)
    places = quota.floor().long()
    if count >= len(sizes):
        places.clamp_(min=1)
    while (missing := count - int(places.sum())) != 0:
        # The minimum of one may have given away too many places: take them back where the quota is exceeded most.
        step = 1 if missing > 0 else -1
        gap = (quota - places) * step
        gap[(places >= sizes) if missing > 0 else (places <= 1)] = -torch.inf
        places[gap.topk(min(abs(missing), int(gap.isfinite().sum()))).indices] += step
    order = permutation(len(labels), seed)
    # Sorted by class with the seeded order kept inside a class: the rank in its class decides.
    by_class = order[torch.argsort(inverse[order], stable=True)]
    starts = sizes.cumsum(0) - sizes
    rank = torch.arange(len(labels)) - starts[inverse[by_class]]
    return by_class[rank < places[inverse[by_class]]].sort().values


def subset(split: Split, count: int, seed: int) -> Split:
    """At most `count` examples of a split, seeded; stratified where `y` holds integer labels."""
    if count >= len(split):
        return split
    y = split.tensors.get("y")
    if y is not None and y.ndim == 1 and not y.is_floating_point():
        return split.take(stratified(y, count, apart(seed)))
    return split.take(shuffled(len(split), seed)[:count].sort().values)


def wrap(
    anything: Any,
    validation: Any = 0.1,
    test: Any = None,
    seed: int = 0,
    label: str | None = None,
    kind: Mapping[str, str] | str | None = None,
) -> Data:
    """Make Data of what a user has; Data itself is returned unchanged.

    `anything`: a tensor, an array, a pair (x, y), a mapping of either by name, a scikit-learn bunch, a Dataset whose
    items are x, (x, y) or mappings, a DataLoader, a data frame, a scipy sparse matrix or annotated data (AnnData).
    `validation`, `test`: a share or number of examples cut with `seed`, or another such data set; by default a tenth
    each, the examples that `load` cuts from the same data, and no test part where `validation` is a data set. `label`:
    the column of labels, of a frame or of obs, or the name of y in a mapping (default: label, class, y of classes).
    `kind`: of the numbers in columns or fields, in place of what their values tell: one of `spec.KINDS` for all, or by
    the names of columns. Raises DataError.
    """
    if isinstance(anything, Data):
        return anything
    if test is None:
        test = TEST if isinstance(validation, (int, float)) else 0
    given = {"validation": validation, "test": test}
    others = {part: other for part, other in given.items() if not isinstance(other, (int, float))}
    tables = prepared(tables_apart({"train": anything, **others}, label), kind)
    notes = list(tables["train"].notes)
    tables = alike(tables)
    tensors = tensors_of(tables["train"], "train")
    spec = spec_of(tensors)
    shares = {part: share for part, share in given.items() if isinstance(share, (int, float))}
    whole = Split(tensors)
    try:
        pieces = three_parts(len(whole), shares.get("validation", 0), shares.get("test", 0), apart(seed))
    except ValueError as error:
        found = f"{len(whole)} ({error})"
        raise DataError("train", "enough examples to cut", found, "give more examples or smaller parts") from error
    if len(pieces[0]) < len(whole):
        notes += series_notes(tensors, "train")
    for note in notes:
        warnings.warn(note, DataNote, stacklevel=2)
    cuts = {part: index for part, index in zip(given, pieces[1:], strict=True) if part in shares}
    splits = {part: whole.take(index) for part, index in cuts.items()}
    for part in others:
        held = tensors_of(tables[part], part)
        spec = joined_spec(spec, spec_of(held), part)
        splits[part] = Split(held)
    train = whole if len(pieces[0]) == len(whole) else whole.take(pieces[0])
    spec = replace(spec, label=tables["train"].label)
    if labels := tables["train"].labels:
        spec = replace(spec, classes=len(labels), labels=labels)
    splits["train"] = train
    spec = with_columns(spec, splits, tables["train"].features, kind, "train")
    how = "cut at random" if shares else ""
    parts = (splits["train"], splits["validation"], splits["test"])
    return Data("tensors", *parts, spec, cut=how, frame=library_of(anything))


def joined_spec(train: Spec, other: Spec, part: str) -> Spec:
    """The spec of both, or a DataError where they differ; a part may show fewer labels or grey levels than another."""
    if (train.x, train.y, train.classes is None) != (other.x, other.y, other.classes is None):
        raise DataError(part, f"examples as in train, {train}", f"{other}", "give all parts the same shapes and names")
    classes = None if train.classes is None else max(train.classes, other.classes or 0)
    levels = None if None in (train.levels, other.levels) else max(train.levels or 0, other.levels or 0)
    return replace(train, classes=classes, levels=levels)
