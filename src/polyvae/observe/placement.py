"""Where to put so many sensors: by pivoted QR of principal modes, or greedily by what is expected of the whole field.

Both take a field x [C, H, W] for a normal law of covariance R'R, R its modes [K, C, H, W], plus what these leave out. A
sensor reads all channels at one point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi, sqrt

import torch
from torch import Tensor

from polyvae.checks.names import find
from polyvae.checks.ranges import Count, Weight, at_least, ranged

MOST = 256  # modes, where nothing else is asked for
FITTED = 1500  # fields at most whose modes are found
JUDGED = 2048  # places at most that count, where nothing else is asked for
PIECE = 2**22  # numbers of an array at once, 32 MiB
TINY = 1e-10  # of the mean variance: less is nothing, and readings have at least that of noise


@ranged
def place_sensors(x: Tensor, count: Count, noise: Weight = 0.05, method: str = "greedy") -> Tensor:
    """Positions [count, 2] (row, column) of sensors for fields like x [N, C, H, W], in the order they are chosen.

    `noise`: the standard deviation of a reading, as a share of that of its channel over all fields and places. Channels
    count alike, each in its own standard deviation. No sensor stands where no field differs from another, as in a solid
    body. `method`: "greedy" or "qr", see `greedy` and `pivoted_qr`. Of many fields and places an even part is looked
    at. Raises ValueError for another method, fewer than two fields, values that are no numbers and more sensors than
    places.
    """
    place = find(METHODS, method, "method")
    _check_fields(x)
    moving = (x != x[:1]).any(0).any(0).cpu()
    if int(moving.sum()) < count:
        raise ValueError(f"count: {count} sensors do not fit into the {int(moving.sum())} places where fields differ")
    some = x.detach()[:: -(-len(x) // FITTED)].cpu().double()
    scale = some[:, :, moving].std((0, 2), correction=0)
    return place(some / torch.where(scale > 0, scale, 1.0)[:, None, None], count, noise, moving)


def principal_modes(x: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The leading principal axes of fields x [N, C, H, W], each times the standard deviation of its coefficient.

    Returns these modes R [K, C, H, W], `most` at the most, largest first, and the variance [C, H, W] that they leave
    out, both float64 on the CPU: the variance of x is sum_k R_k^2 plus that rest. Raises ValueError for fewer than two
    fields, for values that are no numbers and for `most` below 1.
    """
    at_least("most", most, 1, "modes")
    _check_fields(x)
    rows = x.detach().cpu().double().flatten(1)
    rows = (rows - rows.mean(0)) / len(rows) ** 0.5
    few = len(rows) <= rows.shape[1]
    variances, vectors = torch.linalg.eigh(rows @ rows.T if few else rows.T @ rows)
    kept = torch.arange(len(variances)).flip(0)[:most]
    kept = kept[variances[kept] > TINY * variances[-1]]
    found = vectors[:, kept].T @ rows if few else vectors[:, kept].T * variances[kept].sqrt()[:, None]
    rest = (rows.square().sum(0) - found.square().sum(0)).clamp(min=0)
    return found.unflatten(1, x.shape[1:]), rest.view(x.shape[1:])


def pivoted_qr(modes: Tensor, count: int, where: Tensor | None = None) -> Tensor:
    """Positions [count, 2] (row, column) by pivoted QR of modes [K, C, H, W], in the order in which they are found.

    The first sensor stands where sum_ck R_kc^2 is largest, the next where most of it is left once the directions that
    those before tell are projected out. A sensor reads all channels, so a pivot is a block of them. Usual are about
    three modes for each sensor. `where` [H, W]: True at the places that a sensor may have. Raises ValueError for more
    sensors than such places.

    Manohar, Brunton, Kutz, Brunton: Data-Driven Sparse Sensor Placement for Reconstruction, 2018.
    """
    free = _free(modes, count, where)
    left = modes.detach().cpu().double().flatten(2).permute(2, 1, 0).clone()
    left[~free] = 0.0
    chosen: list[int] = []
    for _ in range(count):
        place = int(left.square().sum((1, 2)).masked_fill(~free, -1.0).argmax())
        chosen.append(place)
        axes, sizes, _ = torch.linalg.svd(left[place].T, full_matrices=False)
        told = axes[:, sizes > TINY * sizes[0]]  # a channel may tell nothing, or the same as another
        left -= (left @ told) @ told.T
        left[place], free[place] = 0.0, False
    return _positions(chosen, modes)


def greedy(
    modes: Tensor,
    count: int,
    noise: float | Tensor,
    where: Tensor | None = None,
    rest: Tensor | None = None,
    judged: Tensor | None = None,
) -> Tensor:
    """Positions [count, 2] (row, column): each is the place that, with those before, most lowers `expected_crps`.

    `modes` [K, C, H, W]. `noise`: the standard deviation of a reading, one number or one for each channel [C], in their
    units. `where` [H, W]: True at the places that a sensor may have. `rest` [C, H, W]: the variance that the modes
    leave out, independent from value to value. `judged` [H, W]: True at the places that count, all by default; time
    grows with the number of modes, of candidates and of these. Raises ValueError for more sensors than places and for
    noise below 0.
    """
    free = _free(modes, count, where)
    law = _Law(modes, noise, rest, judged)
    chosen: list[int] = []
    for _ in range(count):
        candidates = free.nonzero().squeeze(1)
        spread = torch.cat([law.after(some).clamp(min=0).sqrt().sum(1) for some in candidates.split(law.many)])
        chosen.append(int(candidates[int(spread.argmin())]))
        law.read(chosen[-1])
        free[chosen[-1]] = False
    return _positions(chosen, modes)


def expected_crps(
    modes: Tensor,
    positions: Tensor | Sequence[Sequence[int]],
    noise: float | Tensor,
    rest: Tensor | None = None,
    judged: Tensor | None = None,
) -> float:
    """The mean ranked probability score that the normal law expects of itself, given sensors at `positions` [P, 2].

    That of a normal law of standard deviation s about what it describes is s / sqrt(pi). So this is the mean of
    s / sqrt(pi) over the judged values, s^2 being the diagonal of

    C - C_:s (C_ss + noise^2)^-1 C_s:,  C = R'R + diag(rest)

    The other arguments are those of `greedy`. Raises ValueError for a position outside the field or given
    twice.

    Gneiting, Raftery: Strictly Proper Scoring Rules, Prediction, and Estimation, 2007.
    """
    height, width = modes.shape[2:]
    law = _Law(modes, noise, rest, judged)
    pairs = torch.as_tensor(positions).view(-1, 2).tolist()
    if len({(row, column) for row, column in pairs}) < len(pairs):
        raise ValueError(f"positions name a place twice: {pairs}")
    for row, column in pairs:
        if not (0 <= row < height and 0 <= column < width):
            raise ValueError(f"position ({row}, {column}) lies outside a field of {height} x {width} points")
        law.read(row * width + column)
    return float(law.variance().clamp(min=0).sqrt().mean()) / sqrt(pi)


class _Law:
    """What is left of the variance of a field given the sensors so far, in the space of its modes.

    x = R'z + r with z ~ N(0, 1) and r ~ N(0, rest), independent; a sensor reads y = R_s'z + r_s + e. Given that, the
    covariance of z is U (1 + S^2)^-1 U' along the singular vectors U of R_s over the deviations of r_s + e, and one
    elsewhere; its root goes into R. Given z and y, what is left of r_s is rest noise^2 / (rest + noise^2), its mean
    following y - R_s'z by the share g = rest / (rest + noise^2), so that x_s has (1 - g) R_s there.
    """

    def __init__(self, modes: Tensor, noise: float | Tensor, rest: Tensor | None, judged: Tensor | None) -> None:
        channels, places = modes.shape[1], modes.shape[2] * modes.shape[3]
        spread = torch.as_tensor(noise, dtype=torch.float64).cpu().reshape(-1)
        if len(spread) not in (1, channels) or not bool(((spread >= 0) & spread.isfinite()).all()):
            raise ValueError(
                f"noise is a standard deviation of at least 0, or one for each of {channels} channels; got {noise}"
            )
        self.told = modes.detach().cpu().double().flatten(2).clone()  # R [K, C, P], what sensors tell of z
        self.rest = self.told.new_zeros(channels, places) if rest is None else rest.detach().cpu().double().flatten(1)
        tiny = TINY * float((self.told.square().sum(0) + self.rest).mean())
        self.noise = (spread.square().expand(channels) + tiny)[:, None]
        index = torch.arange(places) if judged is None else judged.flatten().cpu().nonzero().squeeze(1)
        self.column = torch.full((places,), -1)  # of a place among those judged
        self.column[index] = torch.arange(len(index))
        self.left, self.own = self.told[:, :, index].clone(), self.rest[:, index].clone()
        self.many = max(1, PIECE // (channels**2 * max(1, len(index))))

    def variance(self) -> Tensor:
        """Of the judged values, [C J]."""
        return (self.left.square().sum(0) + self.own).flatten()

    def after(self, places: Tensor) -> Tensor:
        """The same after one more reading at each of the places [M], [M, C J]."""
        heard = self._heard(places)
        lower = torch.linalg.cholesky(heard.mT @ heard + torch.eye(heard.shape[2], dtype=heard.dtype))
        told = torch.linalg.solve_triangular(lower, heard.mT, upper=False)  # [M, C, K]
        lost = (told @ self.left.flatten(1)).square_().sum(1)
        found = (self.variance() - lost).unflatten(1, self.own.shape)
        mine = self.column[places]
        rows, columns = (mine >= 0).nonzero().squeeze(1), mine[mine >= 0]
        share, own = self._own(places[rows])
        modelled = found[rows, :, columns] - self.own[:, columns].T
        found[rows, :, columns] = (1 - share).square() * modelled + own
        return found.flatten(1)

    def read(self, place: int) -> None:
        """One more reading."""
        index = torch.tensor([place])
        axes, sizes, _ = torch.linalg.svd(self._heard(index)[0], full_matrices=False)
        lost = axes * (1 - (1 + sizes.square()).rsqrt())
        for root in (self.told, self.left):
            root -= (lost @ (axes.T @ root.flatten(1))).view(root.shape)
        if (column := int(self.column[place])) >= 0:
            share, own = self._own(index)
            self.left[:, :, column] *= 1 - share[0]
            self.own[:, column] = own[0]

    def _heard(self, places: Tensor) -> Tensor:
        """R_s over the deviations of r_s + e, [M, K, C]."""
        return (self.told[:, :, places] / (self.rest[:, places] + self.noise).sqrt()).permute(2, 0, 1)

    def _own(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """g, and what is left of the rest, at a reading's own place, [M, C] each."""
        rest = self.rest[:, places]
        share = rest / (rest + self.noise)
        return share.T, (share * self.noise).T


def _check_fields(x: Tensor) -> None:
    if x.ndim != 4 or len(x) < 2:
        raise ValueError(f"sensors are placed by at least two fields [N, C, H, W]; got {list(x.shape)}")
    if not bool(x.isfinite().all()):
        raise ValueError("sensors are placed by whole fields; x holds NaN or infinite values")


def _free(modes: Tensor, count: int, where: Tensor | None) -> Tensor:
    """Whether each place may have a sensor, [P]; ValueError for more sensors than such places."""
    at_least("count", count, 1, "sensors")
    height, width = modes.shape[2:]
    free = torch.ones(height, width, dtype=torch.bool) if where is None else where.cpu().bool()
    if free.shape != (height, width):
        raise ValueError(f"where has the shape {[height, width]} of the field; got {list(free.shape)}")
    if int(free.sum()) < count:
        raise ValueError(f"count: {count} sensors do not fit into {int(free.sum())} places")
    return free.flatten().clone()


def _positions(places: Sequence[int], modes: Tensor) -> Tensor:
    return torch.tensor([divmod(place, modes.shape[3]) for place in places])


def _by_qr(x: Tensor, count: int, noise: float, where: Tensor) -> Tensor:
    return pivoted_qr(principal_modes(x, 3 * count)[0], count, where)


def _greedily(x: Tensor, count: int, noise: float, where: Tensor) -> Tensor:
    """Of many places an even part is judged."""
    modes, rest = principal_modes(x, MOST)
    step = 1
    while int(where[::step, ::step].sum()) > JUDGED:
        step += 1
    judged = torch.zeros_like(where)
    judged[::step, ::step] = where[::step, ::step]
    return greedy(modes, count, noise, where, rest, judged)


METHODS: dict[str, Callable[[Tensor, int, float, Tensor], Tensor]] = {"greedy": _greedily, "qr": _by_qr}
