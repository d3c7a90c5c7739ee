"""Where to put so many sensors: by pivoted QR of principal modes, or by the error that is expected of the whole field.

Both take a field x [C, H, W] for a normal law of covariance R'R, R its modes [K, C, H, W], plus what these leave out. A
sensor reads all channels at one point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

import torch
from torch import Tensor

from polyvae.checks.names import find
from polyvae.checks.ranges import Count, Weight, at_least, ranged
from polyvae.observe.sensor_law import SensorLaw

MOST = 256  # modes, where nothing else is asked for
FITTED = 1500  # fields at most whose modes are found
JUDGED = 1024  # places at most that count, where nothing else is asked for
ENOUGH = 1e-4  # of the expected score: a round of moves that gains less is the last
TINY = 1e-10  # of the largest, below which a variance is nothing


@ranged
def place_sensors(x: Tensor, count: Count, noise: Weight = 0.05, method: str = "exchange") -> Tensor:
    """Positions [count, 2] (row, column) of sensors for fields like x [N, C, H, W].

    `noise`: the standard deviation of a reading, as a share of that of its channel over all fields and places. Channels
    count alike, each in its own standard deviation. No sensor stands where no field differs from another, as in a solid
    body. `method`: "qr", see `pivoted_qr`, "greedy", see `greedy`, or "exchange", which moves greedy sensors until no
    move of one helps, see `exchanged`. Of many fields and places an even part is looked at. Raises ValueError for
    another method, fewer than two fields, values that are no numbers and more sensors than places.
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
    law = SensorLaw(modes, noise, rest, judged)
    chosen: list[int] = []
    for _ in range(count):
        chosen.append(_best(law, free)[0])
        law.read(chosen[-1])
        free[chosen[-1]] = False
    return _positions(chosen, modes)


def exchanged(
    modes: Tensor,
    positions: Tensor,
    noise: float | Tensor,
    where: Tensor | None = None,
    rest: Tensor | None = None,
    judged: Tensor | None = None,
) -> Tensor:
    """Positions [count, 2] like those given, each in turn moved to where it most lowers `expected_crps` of them all.

    It ends where no move of one sensor lowers that by more than `ENOUGH` of itself: what greedy choices lack, which do
    not know of the sensors that come later. The other arguments are those of `greedy`.

    Fedorov: Theory of Optimal Experiments, 1972.
    """
    free = _free(modes, len(positions), where)
    chosen = [row * modes.shape[3] + column for row, column in positions.tolist()]
    least, before = inf, inf
    while least == inf or least < before * (1 - ENOUGH):
        before = least
        for number in range(len(chosen)):
            law, others = SensorLaw(modes, noise, rest, judged), chosen[:number] + chosen[number + 1 :]
            for place in others:
                law.read(place)
            open_to_it = free.clone()
            open_to_it[others] = False
            chosen[number], least = _best(law, open_to_it)
    return _positions(chosen, modes)


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


def _best(law: SensorLaw, free: Tensor) -> tuple[int, float]:
    """The free place whose reading leaves the least standard deviation, summed over what is judged, and that sum."""
    candidates = free.nonzero().squeeze(1)
    spread = torch.cat([law.after(some).clamp(min=0).sqrt().sum(1) for some in candidates.split(law.many)])
    least = spread.min(0)
    return int(candidates[int(least.indices)]), float(least.values)


def _positions(places: Sequence[int], modes: Tensor) -> Tensor:
    return torch.tensor([divmod(place, modes.shape[3]) for place in places])


def _by_qr(x: Tensor, count: int, noise: float, where: Tensor) -> Tensor:
    return pivoted_qr(principal_modes(x, 3 * count)[0], count, where)


def _greedily(x: Tensor, count: int, noise: float, where: Tensor) -> Tensor:
    modes, rest, judged = _looked_at(x, noise, where)
    return greedy(modes, count, noise, where, rest, judged)


def _exchanged(x: Tensor, count: int, noise: float, where: Tensor) -> Tensor:
    modes, rest, judged = _looked_at(x, noise, where)
    return exchanged(modes, greedy(modes, count, noise, where, rest, judged), noise, where, rest, judged)


def _looked_at(x: Tensor, noise: float, where: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Modes but for those far below the noise, what they leave out, and of many places an even part, to be judged."""
    modes, rest = principal_modes(x, MOST)
    sizes = modes.square().mean((1, 2, 3))
    left = sizes.flip(0).cumsum(0).flip(0) + rest.mean()
    kept = max(1, int((left > max(1e-9, (noise / 10) ** 2)).sum()))
    step = 1
    while int(where[::step, ::step].sum()) > JUDGED:
        step += 1
    judged = torch.zeros_like(where)
    judged[::step, ::step] = where[::step, ::step]
    return modes[:kept], rest + modes[kept:].square().sum(0), judged


METHODS: dict[str, Callable[[Tensor, int, float, Tensor], Tensor]] = {
    "exchange": _exchanged,
    "greedy": _greedily,
    "qr": _by_qr,
}
