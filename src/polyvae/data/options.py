"""The options of `load`: how a data set is read, split and preprocessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any

from polyvae.checks.ranges import LARGEST, Amount, Count, NumberOrShare, Range, Seed, Share, check
from polyvae.data.modalities.groups import Groups, groups_of

Side = Annotated[int, Range(1, 2**14, whole=True)]  # of pictures: one of 16,384 x 16,384 has a GB in three colours
Folds = Annotated[int, Range(2, LARGEST, whole=True)]


@dataclass(frozen=True)
class Options:
    """How a data set is read, split and preprocessed.

    label: the column of labels in a table (default: label, class, y of classes), or the labels of an .npz; "" for none.
    beside: columns of a table, or arrays by name, that condition x and are no part of it, NAME,NAME: text and
        categories are labels, and so are the whole numbers of an array.
    kind: the kind of the numbers in columns or fields, which their values tell by default: bits, category, counts,
        positive, real or grey for all, or NAME=KIND,NAME=KIND by columns.
    skip_bad: leave out the files of a folder that cannot be read as pictures, and the rows of a table or frame that
        lack a value.
    gaps: keep values of x that are missing, empty cells of a table and NaN in an array, with a mask of what is seen, as
        the recipe incomplete reads them.
    labels: keep the labels of so many training examples alone, as many of each class, for a recipe that learns from
        few; those of the validation part are hidden too.
    limit: so many training examples, a stratified subset; the other parts shrink in proportion, to at least one example
        of each class.
    binarise: "threshold" (above 1/2), "fixed" (one Bernoulli draw for good) or "dynamic" (a fresh draw for every
        training batch; drawn once in validation and test part, so that evaluation repeats itself). Of several
        modalities, pictures of one channel are binarised.
    dequantise: noise of one grey level, fresh for every training batch, drawn once in the other parts.
    size, centre: resize pictures to size x size, after cutting out the square in their middle.
    validation: a share or number of training examples to hold out (default: the official part, else 10,000 of MNIST's
        60,000, else a tenth).
    folds, fold: split training and validation part together in so many folds, and validate on this one.
    blocks: split a series in time in so many runs of consecutive examples, held out whole and evenly spread (default:
        what the catalogue says, 15 for a user's fields with times; 0 cuts at random).
    modalities: columns of a table, channels of fields or arrays by name as modalities, NAME,NAME for one of each, or
        NAME=COLUMN+COLUMN,NAME=COLUMN; rows may lack some of them.
    pairings: of data that pair pictures by their class, with how many random partners each picture stands in the
        training part.
    absent: of data of several modalities, hide each one of each training row with this chance, one at least always
        left; the other parts stay whole.
    seed: of the split, of generated data, of pairs and of what is hidden.
    download: whether missing files are downloaded.
    """

    label: str | None = None
    beside: str | Sequence[str] | None = None
    kind: str | Mapping[str, str] | None = None
    skip_bad: bool = False
    gaps: bool = False
    labels: Count | None = None
    limit: Count | None = None
    binarise: str | None = None
    dequantise: bool = False
    size: Side | None = None
    centre: bool = True
    validation: NumberOrShare | None = None
    fold: Amount | None = None
    folds: Folds | None = None
    blocks: Amount | None = None
    modalities: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None
    pairings: Count = 1
    absent: Share | None = None
    seed: Seed = 0
    download: bool = True

    def __post_init__(self) -> None:
        check(type(self), vars(self))
        if self.binarise not in (None, "threshold", "dynamic", "fixed"):
            raise ValueError(f"binarise is None, 'threshold', 'dynamic' or 'fixed'; got {self.binarise!r}")
        if self.binarise and self.dequantise:
            raise ValueError("binarise and dequantise exclude each other: zeros and ones, or a density")
        if self.gaps and self.skip_bad:
            raise ValueError("gaps and skip_bad exclude each other: rows that lack a value are kept, or left out")
        groups_of(self.modalities)  # raises for what makes no sense
        if self.blocks == 1:
            raise ValueError("blocks counts runs of a series, at least 2, or is 0 to cut at random; got 1")
        if self.fold is None or self.folds is None:
            if self.fold is not self.folds:
                given = "folds" if self.fold is None else "fold"
                raise ValueError(f"fold and folds belong together, as in fold 0 of 5 folds; got {given} alone")
        elif self.fold >= self.folds:
            raise ValueError(f"fold lies in 0..{self.folds - 1}; got {self.fold}")
        elif self.validation is not None:
            raise ValueError("validation and folds exclude each other: a fold takes the place of the validation part")

    @property
    def groups(self) -> Groups:
        """Of each modality the names of its columns, channels or arrays; empty where x is one."""
        return groups_of(self.modalities)

    def said(self) -> dict[str, Any]:
        """The options that decide the data and differ from their defaults, by name."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "download"}
        return {name: value for name, value in values.items() if value != getattr(Options, name)}
