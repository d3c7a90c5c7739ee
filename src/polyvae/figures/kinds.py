"""What each kind of figure shows, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

Codes = dict[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How values are shown.

    `unit`: pictures whose values lie in [0, 1] and are shown as grey levels or colours; others are fields, of which
    each channel is shown by itself, by a colour map over its range. `names`: of the channels or columns, where they
    have some. `part`: what of the data is shown, in words, empty where it is all of them. `codes`: by the number of a
    table's column the labels that its codes 0, 1, ... stand for.
    """

    unit: bool = True
    names: tuple[str, ...] = ()
    part: str = ""
    codes: Codes = field(default_factory=dict)


@dataclass(frozen=True)
class Reconstructions(Shown):
    """Examples, NaN where a table lacks a value, and their reconstructions, [N, ...] each."""

    original: np.ndarray
    reconstruction: np.ndarray


@dataclass(frozen=True)
class Samples(Shown):
    """Samples in rows and columns, [R, S, ...]; `columns` names what each one is given, empty without a condition.

    `data` [N, d]: of a table, examples that the samples are shown beside, NaN where they lack a value, or None.
    """

    pictures: np.ndarray
    columns: tuple[str, ...] = ()
    data: np.ndarray | None = None


@dataclass(frozen=True)
class Strips(Shown):
    """Walks through latent space, [R, S, ...]: one row a walk, named by `rows`, at the steps `positions` [S].

    `ends` [R, 2, ...]: the examples a walk goes between, or None. `columns`: the steps' names, where they are classes.
    """

    pictures: np.ndarray
    rows: tuple[str, ...]
    positions: np.ndarray
    ends: np.ndarray | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Levels(Shown):
    """Examples and their reconstructions from ever more of the latents, [R, S, ...]: what each of the `rows` shows."""

    pictures: np.ndarray
    rows: tuple[str, ...]


@dataclass(frozen=True)
class Clusters(Shown):
    """Examples [C, E, ...], NaN where a class has fewer, and samples [C, S, ...]; `rows` is what is said of each."""

    examples: np.ndarray
    samples: np.ndarray
    rows: tuple[str, ...]


@dataclass(frozen=True)
class Sensors(Shown):
    """A field [C, H, W] and the places (row, column) [P, 2] of sensors on it, in order."""

    field: np.ndarray
    positions: np.ndarray


@dataclass(frozen=True)
class Reliability:
    """By its name, rows [from, to, share of the examples, mean probability, share that is right] of a classifier."""

    bins: dict[str, np.ndarray]
    part: str = ""


@dataclass(frozen=True)
class LatentMap:
    """Posterior means in a plane, [N, 2], their labels [N] or None, and the names of the two axes.

    `of`: what the labels are, in a word.
    """

    points: np.ndarray
    labels: np.ndarray | None
    axes: tuple[str, str]
    part: str = ""
    of: str = "label"


@dataclass(frozen=True)
class ModalMap:
    """Posterior means in a plane, [N, 2], their labels [N] or None, what each was given, [N], and the axes' names.

    `names`: what the data call the labels 0, 1, ..., where they have names.
    """

    points: np.ndarray
    labels: np.ndarray | None
    given: np.ndarray
    axes: tuple[str, str]
    part: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sheet:
    """Pictures in colours under several headings, [R, S, 3, H, W] each, and the names of their rows.

    `ranges`: under its heading by the name of a field [2, 2], the least and the greatest value of the data, over which
    its colours run, and of what is shown. `columns`: names of the columns, or none.
    """

    pictures: dict[str, np.ndarray]
    rows: dict[str, tuple[str, ...]]
    part: str = ""
    ranges: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class KLBars:
    """KL of every dimension of every latent by its name, nats [d]."""

    kl: dict[str, np.ndarray]
    part: str = ""


@dataclass(frozen=True)
class GroupKL:
    """KL of every latent as a whole, nats, and its dimensions, by its name in the order of generation."""

    kl: dict[str, float]
    dimensions: dict[str, int]
    part: str = ""


@dataclass(frozen=True)
class Curves:
    """What a run recorded: `epochs` [E], and by quantity and part ("train", "validation" or "") the values [E].

    `best`: the epoch whose weights the run keeps, or None where that is not known.
    """

    epochs: np.ndarray
    quantities: dict[str, dict[str, np.ndarray]]
    best: float | None = None


@dataclass(frozen=True)
class Completions(Shown):
    """Examples completed from what `mask` says is seen of them, each [N, ...], and what is drawn, [S, N, ...].

    `mask` [N, 1, H, W] or [N, d]; `low`, `high`: the 5 % and 95 % quantiles. `chances`: by the number of a table's
    column of labels or bits the probability of every code, [N, codes].
    """

    truth: np.ndarray
    mask: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    low: np.ndarray
    high: np.ndarray
    samples: np.ndarray
    chances: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class PointErrors:
    """Errors of unseen values against the number of points seen, by method: `points` [K] and each quantity [K].

    `mse`, `crps` of numbers, in the standard deviations of their columns where they are `standardised`; `wrong`,
    `log_loss` of labels and bits. NaN where there is nothing to score. `of`: what is seen, "points" or "columns".
    """

    points: dict[str, np.ndarray]
    mse: dict[str, np.ndarray]
    crps: dict[str, np.ndarray]
    wrong: dict[str, np.ndarray]
    log_loss: dict[str, np.ndarray]
    standardised: bool = False
    of: str = "points"
