"""Where to put sensors: modes, pivoted QR, and the greedy choice beside brute force on small fields."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

import polyvae as pv
from polyvae.observe.placement import exchanged, greedy, pivoted_qr, place_sensors, principal_modes
from polyvae.observe.sensor_law import expected_crps

SHAPE = (2, 4, 5)


def drawn(count: int, *shape: int, seed: int = 0) -> Tensor:
    """Smooth random fields, so that a sensor tells something of its neighbours."""
    white = torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return white + sum(white.roll(step, axis) for axis in (1, 2, 3) for step in (1, -1))


def brute(modes: Tensor, places: list[tuple[int, int]], noise: Tensor, rest: Tensor) -> float:
    """The score by the formula on whole matrices, noise a number for each channel."""
    channels, height, width = modes.shape[1:]
    rows = modes.flatten(1)
    covariance = rows.T @ rows + rest.flatten().diag()
    seen = [c * height * width + i * width + j for i, j in places for c in range(channels)]
    inside = covariance[seen][:, seen] + noise.square().repeat(len(places)).diag()
    left = covariance - covariance[:, seen] @ torch.linalg.solve(inside, covariance[seen])
    return float(left.diagonal().sqrt().mean()) / math.sqrt(math.pi)


def places_of(found: Tensor) -> list[tuple[int, int]]:
    return [(int(row), int(column)) for row, column in found]


@pytest.mark.parametrize("count", [7, 60])
def test_modes_and_rest_hold_the_variance_and_are_those_of_a_singular_value_decomposition(count: int) -> None:
    x = drawn(count, *SHAPE)
    modes, rest = principal_modes(x, 4)
    rows = (x - x.mean(0)).flatten(1)
    _, sizes, axes = torch.linalg.svd(rows / math.sqrt(count), full_matrices=False)
    expected = sizes[:4, None] * axes[:4]
    signs = (modes.flatten(1) * expected).sum(1).sign()[:, None]
    torch.testing.assert_close(modes.flatten(1), expected * signs)
    torch.testing.assert_close(modes.square().sum(0) + rest, x.var(0, correction=0))
    whole, nothing = principal_modes(x, 1_000)
    assert len(whole) == min(count - 1, 40)
    assert float(nothing.abs().max()) < 1e-9


def test_a_law_given_sensors_is_that_of_whole_matrices() -> None:
    modes, rest = principal_modes(drawn(50, *SHAPE), 6)
    places, noise = [(0, 1), (3, 3), (2, 0), (3, 4)], torch.tensor([0.3, 0.1], dtype=torch.float64)
    for number in range(len(places) + 1):
        for left_out in (rest, torch.zeros_like(rest)):
            given = modes.clone()
            found = expected_crps(given, torch.tensor(places[:number]), noise, left_out)
            assert torch.equal(given, modes)
            assert found == pytest.approx(brute(modes, places[:number], noise, left_out), rel=1e-7)
    judged = torch.zeros(4, 5, dtype=torch.bool)
    judged[1:3, 2] = True
    one = expected_crps(modes[:, :, 1:3, 2:3], [], 0.1, rest[:, 1:3, 2:3])
    assert expected_crps(modes, [], 0.1, rest, judged) == pytest.approx(one)
    # Exact readings of all that a field is made of leave nothing.
    assert expected_crps(modes, places, 0.0) < 1e-3 * expected_crps(modes, [], 0.0)


def test_each_greedy_sensor_is_the_best_of_all_beside_those_before() -> None:
    for seed, kept in ((0, 6), (1, 39)):
        modes, rest = principal_modes(drawn(50, *SHAPE, seed=seed), kept)
        noise = torch.tensor([0.5, 0.2], dtype=torch.float64)
        found = places_of(greedy(modes, 4, noise, rest=rest))
        for number in range(4):
            before = found[:number]
            free = [place for place in product(range(4), range(5)) if place not in before]
            scores = {place: brute(modes, [*before, place], noise, rest) for place in free}
            assert min(scores, key=lambda place: scores[place]) == found[number]


def test_after_exchanges_no_move_of_one_sensor_helps() -> None:
    modes, rest = principal_modes(drawn(50, *SHAPE, seed=1), 6)
    noise, where = torch.tensor([0.5, 0.2], dtype=torch.float64), torch.ones(4, 5, dtype=torch.bool)
    where[0] = False
    start = torch.tensor([(1, 0), (1, 1), (2, 0)])
    found = places_of(exchanged(modes, start, noise, where, rest))
    assert len(set(found)) == 3
    least = brute(modes, found, noise, rest)
    assert least < 0.999 * brute(modes, places_of(start), noise, rest)
    for number in range(3):
        others = found[:number] + found[number + 1 :]
        free = [place for place in product(range(1, 4), range(5)) if place not in others]
        assert min(brute(modes, [*others, place], noise, rest) for place in free) >= least * (1 - 1e-3)


def test_only_places_that_are_free_are_taken_and_only_those_judged_count() -> None:
    modes, rest = principal_modes(drawn(50, *SHAPE), 8)
    where = torch.ones(4, 5, dtype=torch.bool)
    where[:, :3] = False
    for found in (greedy(modes, 8, 0.1, where), pivoted_qr(modes, 8, where)):
        assert sorted(places_of(found)) == [(i, j) for i in range(4) for j in (3, 4)]
    judged = torch.zeros(4, 5, dtype=torch.bool)
    judged[2, 1] = True
    assert places_of(greedy(modes, 1, 0.1, rest=rest, judged=judged)) == [(2, 1)]
    assert places_of(greedy(modes, 1, torch.tensor([0.1, 0.1]), judged=judged)) == [(2, 1)]


def test_pivoted_qr_takes_the_pivots_of_the_decomposition_of_one_channel() -> None:
    modes = drawn(6, 1, 4, 5)
    left, pivots = modes.flatten(1).clone(), []
    for _ in range(5):
        pivots.append(int(left.square().sum(0).argmax()))
        direction = left[:, pivots[-1]] / left[:, pivots[-1]].norm()
        left = left - torch.outer(direction, direction @ left)
    assert places_of(pivoted_qr(modes, 5)) == [divmod(pivot, 5) for pivot in pivots]


def test_pivoted_qr_takes_a_place_for_all_its_channels() -> None:
    modes = torch.zeros(3, 2, 2, 2).double()
    modes[0, 0, 0, 0], modes[1, 1, 0, 0] = 2.0, 2.0  # 8 in two channels
    modes[0, 0, 1, 1] = 2.5  # 6.25, all of it known from the place before
    modes[2, 0, 0, 1] = 1.0
    assert places_of(pivoted_qr(modes, 2)) == [(0, 0), (0, 1)]


def test_greedy_sensors_are_worth_more_than_those_of_pivoted_qr_on_fields_held_out() -> None:
    """Two waves fill the field, and three points of their own vary most, which tells nothing of the others."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(240, 5, generator=generator, dtype=torch.float64)
    columns = torch.arange(12).double() * torch.pi / 6
    shapes = torch.zeros(5, 1, 10, 12).double()
    shapes[0], shapes[1] = columns.cos(), columns.sin()
    for number, place in enumerate(((2, 2), (5, 9), (8, 4))):
        shapes[2 + number, 0, place[0], place[1]] = 3.0
    x = (codes @ shapes.flatten(1)).view(240, 1, 10, 12)
    train, test, noise = x[:200], x[200:], 0.2
    modes, rest = principal_modes(train, 40)
    covariance = modes.flatten(1).T @ modes.flatten(1)
    away = (test - train.mean(0)).flatten(1)
    found = {}
    for name, places in (("greedy", greedy(modes, 3, noise, rest=rest)), ("qr", pivoted_qr(modes, 3))):
        seen = places[:, 0] * 12 + places[:, 1]
        gain = torch.linalg.solve(covariance[seen][:, seen] + noise**2 * torch.eye(3).double(), covariance[seen]).T
        read = away[:, seen] + noise * torch.randn(40, 3, generator=generator, dtype=torch.float64)
        error = (read @ gain.T - away).square().mean().sqrt()
        found[name] = (float(error), expected_crps(modes, places, noise, rest))
    assert found["greedy"][0] < 0.6 * found["qr"][0]
    assert found["greedy"][1] < 0.4 * found["qr"][1]


@pytest.mark.parametrize("method", ["exchange", "greedy", "qr"])
def test_sensors_are_placed_alike_whatever_the_units_and_never_in_a_body(method: str) -> None:
    x = drawn(30, 2, 6, 7).float()
    x[:, :, 2:4, 2:4] = 3.0
    places = pv.observe.place_sensors(x, 5, method=method)
    assert places.shape == (5, 2)
    assert len(set(places_of(places))) == 5
    assert not any(2 <= row < 4 and 2 <= column < 4 for row, column in places_of(places))
    units = torch.tensor([1e3, 1e-2])[:, None, None]
    assert torch.equal(place_sensors(x * units + 5 * units, 5, method=method), places)
    assert torch.equal(place_sensors(x, 3, 0.05, "greedy"), place_sensors(x, 5, 0.05, "greedy")[:3])
    still = torch.cat([x, torch.full_like(x[:, :1], 7.0)], 1)  # a channel that never moves tells nothing
    assert torch.equal(place_sensors(still, 5, method=method), places)


def test_what_makes_no_sense_is_refused() -> None:
    x = drawn(10, 1, 2, 3)
    modes = principal_modes(x, 3)[0]
    with pytest.raises(ValueError, match="method is one of exchange, greedy, qr; got 'gready'; did you mean greedy"):
        place_sensors(x, 2, method="gready")
    with pytest.raises(ValueError, match="count: 7 sensors do not fit into the 6 places where fields differ"):
        place_sensors(x, 7)
    with pytest.raises(ValueError, match="count is a whole number of at least 1; got 0"):
        place_sensors(x, 0)
    with pytest.raises(ValueError, match="noise is a number of at least 0; got -1"):
        place_sensors(x, 1, -1.0)
    with pytest.raises(ValueError, match=r"at least two fields \[N, C, H, W\]; got \[10, 6\]"):
        place_sensors(x.view(10, 6), 1)
    with pytest.raises(ValueError, match="holds NaN or infinite values"):
        principal_modes(x / 0, 2)
    with pytest.raises(ValueError, match="most counts modes, at least 1; got 0"):
        principal_modes(x, 0)
    for place in (pivoted_qr, lambda *given: greedy(*given[:2], 0.1, *given[2:])):
        with pytest.raises(ValueError, match="count: 7 sensors do not fit into 6 places"):
            place(modes, 7)
        with pytest.raises(ValueError, match=r"where has the shape \[2, 3\] of the field; got \[3, 2\]"):
            place(modes, 1, torch.ones(3, 2))
        with pytest.raises(ValueError, match="count counts sensors, at least 1; got 0"):
            place(modes, 0)
    for noise in (-0.1, math.nan, torch.tensor([0.1, 0.1])):
        with pytest.raises(
            ValueError, match="noise is a standard deviation of at least 0, or one for each of 1 channels"
        ):
            greedy(modes, 1, noise)
        with pytest.raises(ValueError, match="noise is a standard deviation"):
            exchanged(modes, torch.tensor([(0, 0)]), noise)
    with pytest.raises(ValueError, match=r"position \(2, 0\) lies outside a field of 2 x 3 points"):
        expected_crps(modes, [(2, 0)], 0.1)
    with pytest.raises(ValueError, match="positions name a place twice"):
        expected_crps(modes, [(1, 0), (1, 0)], 0.1)
