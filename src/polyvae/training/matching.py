"""What is fitted to a trained run so that it completes: options, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from polyvae.checks.ranges import Count, NumberOrShare, Positive, Widths, check
from polyvae.recipes.options import Where

Law = Literal["autoregressive", "mixture", "full", "diagonal"]
Reader = Literal["conv", "residual", "strided", "mlp"]


@dataclass(frozen=True)
class Matching:
    """The law q(z | m) that is fitted to a run's posterior, and the observations m that it is shown.

    law: of a vector: autoregressive, one value after the other, each a mixture of normals, where none is given; a
        mixture of normals; one normal, with full covariance or diagonal. Codes have a PixelCNN, maps of numbers
        independent normals, and no other.
    components: normals in a mixture.
    network: that reads m where z is a vector; conv of pictures and mlp of tables where none is given.
    widths: of its layers, or their channels; of the PixelCNN and what it reads, the first is the channels of all.
    layers: of the PixelCNN of codes.
    mask: which pixels, or columns, an observation shows.
    count: how many, a number or a share below 1; where none is given it is drawn for each example, from one to all, the
        logarithm evenly.
    exponent: how many is drawn as N (1 - u^(1/exponent)), few most of the time.
    positions: of mask points, row,column,row,column... of a picture or columns of a table.
    """

    law: Law | None = None
    components: Count = 10
    network: Reader | None = None
    widths: Widths | None = None
    layers: Count = 6
    mask: Where = "uniform"
    count: NumberOrShare | None = None
    exponent: Positive | None = None
    positions: Sequence[float] | None = None

    def __post_init__(self) -> None:
        check(Matching, vars(self))
