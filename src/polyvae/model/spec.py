"""What a model must know of the data: shapes and counts, no values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite, prod
from typing import Any

from polyvae.checks.names import one_of

KINDS = ("bits", "category", "counts", "positive", "real", "grey")
UNIT = frozenset({"bits", "grey"})  # the kinds whose values lie in [0, 1]


@dataclass(frozen=True)
class Column:
    """One feature along dimension 1 of x, a table's column or a field's channel, and what its numbers are.

    `kind`: "bits", 0 and 1; "category", codes 0..K-1 of the K `labels`; "counts", whole numbers from 0; "positive" and
    "real" numbers; "grey" levels in [0, 1]. `centre`, `scale`: mean and standard deviation, over what is trained on, of
    the number that a network reads in its place: x where it is real, log x where it is positive, log(1 + x) of counts.
    """

    kind: str = "real"
    name: str | None = None
    labels: tuple[str, ...] | None = None
    centre: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.labels is not None:
            object.__setattr__(self, "labels", tuple(self.labels))
        one_of(KINDS, self.kind, "Column.kind")
        if (self.kind == "category") != (self.labels is not None):
            raise ValueError(f"labels belong to a category and to nothing else; got {self.labels} for {self.kind!r}")
        if not (isfinite(self.centre) and isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"centre is finite and scale positive; got {self.centre} and {self.scale}")


@dataclass(frozen=True)
class Beside:
    """A value of an example beside x, which may condition a model: numbers of a `shape`, or one of so many `classes`.

    `labels`: what the data call the classes, where they are not numbered from 0.
    """

    name: str
    shape: tuple[int, ...] = ()
    classes: int | None = None
    labels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(side) for side in self.shape))
        if self.labels is not None:
            object.__setattr__(self, "labels", tuple(self.labels))
        if bool(self.shape) == (self.classes is not None):
            raise ValueError(f"{self.name!r} is numbers of a shape or a label of some classes; got {self}")

    @property
    def read(self) -> tuple[int, ...]:
        """The shape that a network reads: of a label, its vector of zeros and a one."""
        return self.shape if self.classes is None else (self.classes,)


@dataclass(frozen=True)
class Modality:
    """One of several observed values of an example, such as a picture and a text: its name, and what it is as an x."""

    name: str
    spec: Spec

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise ValueError(f"a modality has a name of letters, digits and underscores; got {self.name!r}")


@dataclass(frozen=True)
class Spec:
    """The shape of one example and of what may condition it, and what kinds of numbers it holds.

    `modalities`: where an example is several observed values by name, one of them each; x is then empty, and what is
    said of y holds for the whole example. `x`: (C, H, W) for pictures, (d,) for tables. `classes`: number of labels
    when `y` holds integer labels 0..classes-1; `labels`: what the data call them, `label`: their column. `y`: length
    when `y` holds vectors, shape when it holds pictures. `beside`: other values by name that may condition a model, see
    `given`. `levels`: grey levels of the original values (256 for bytes scaled to [0, 1], 2 for binarised pictures,
    None for continuous data); bits per dimension are counted with it. `dequantised`: of continuous values, how many
    grey levels they were before noise filled each evenly. `columns`: one for each feature of dimension 1, or none where
    x is a picture in [0, 1], or where nothing is known.
    """

    x: tuple[int, ...] = ()
    classes: int | None = None
    y: int | tuple[int, ...] | None = None
    levels: int | None = 256
    labels: tuple[str, ...] | None = None
    columns: tuple[Column, ...] = ()
    dequantised: int | None = None
    label: str | None = None
    beside: tuple[Beside, ...] = ()
    modalities: tuple[Modality, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", tuple(int(side) for side in self.x))
        object.__setattr__(self, "columns", tuple(self.columns))
        object.__setattr__(self, "beside", tuple(self.beside))
        object.__setattr__(self, "modalities", tuple(self.modalities))
        if isinstance(self.y, (tuple, list)):
            object.__setattr__(self, "y", tuple(self.y))
        if self.labels is not None:
            object.__setattr__(self, "labels", tuple(self.labels))
        if self.modalities:
            return self._check_modalities()
        if not self.x or min(self.x) < 1:
            raise ValueError(f"Spec.x is the shape of one example, every side at least 1; got {self.x}")
        if self.classes is not None and self.classes < 1:
            raise ValueError(f"Spec.classes counts the labels; got {self.classes}")
        if self.columns and len(self.columns) != self.x[0]:
            raise ValueError(f"Spec.columns has one entry for each of {self.x[0]} features; got {len(self.columns)}")

    def _check_modalities(self) -> None:
        """ValueError for one modality alone, two of one name, or an x beside them."""
        names = [each.name for each in self.modalities]
        if self.x or self.columns or len(names) < 2 or len(set(names)) < len(names):
            raise ValueError(
                f"several modalities have names of their own and no x beside them; got {names}, x {self.x}"
            )

    @classmethod
    def from_dict(cls, held: Mapping[str, Any]) -> Spec:
        """The spec of `dataclasses.asdict`, also after JSON made lists of tuples."""
        columns = tuple(Column(**column) for column in held.get("columns", ()))
        beside = tuple(Beside(**each) for each in held.get("beside", ()))
        modalities = tuple(Modality(each["name"], cls.from_dict(each["spec"])) for each in held.get("modalities", ()))
        return cls(**{**held, "columns": columns, "beside": beside, "modalities": modalities})

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` reads, as it was written before there was anything `beside`, or modalities, where there is
        nothing."""
        held = asdict(self)
        held["modalities"] = [{"name": each.name, "spec": each.spec.to_dict()} for each in self.modalities]
        return {name: value for name, value in held.items() if value or name not in ("beside", "modalities")}

    @property
    def values(self) -> dict[str, Spec]:
        """The specs of all that is observed, by name: of x, or of each modality."""
        return {each.name: each.spec for each in self.modalities} or {"x": self}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of all that an example holds, by name: what is observed, then what may condition a model."""
        observed = {name: spec.x for name, spec in self.values.items()}
        return {**observed, **{name: each.shape for name, each in self.given.items()}}

    @property
    def unit(self) -> bool:
        """Whether all values are known to lie in [0, 1], as those of pictures and bits do."""
        if self.columns:
            return all(column.kind in UNIT for column in self.columns)
        return len(self.x) == 3 or self.levels == 2

    @property
    def grey(self) -> bool:
        """Whether x is a picture of grey levels or colours in [0, 1]."""
        return len(self.x) == 3 and not self.columns and self.levels != 2

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the columns, each once, in the order of their first."""
        return tuple(dict.fromkeys(column.kind for column in self.columns))

    @property
    def dimensions(self) -> int:
        """Number of values in one example."""
        return sum(prod(spec.x) for spec in self.values.values())

    @property
    def given(self) -> dict[str, Beside]:
        """What may condition a model, by name: y, where there is one, and what is `beside`."""
        shape = (self.y,) if isinstance(self.y, int) else self.y
        y = (
            Beside("y", () if self.classes else shape or (), self.classes, self.labels)
            if self.classes or shape
            else None
        )
        return {each.name: each for each in (*([] if y is None else [y]), *self.beside)}

    @property
    def condition(self) -> tuple[int, ...] | None:
        """The shape of what stands for `y`: one-hot labels, a vector or a picture; None without one."""
        return self.given["y"].read if "y" in self.given else None
