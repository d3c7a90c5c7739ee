"""Readings between the points of a grid: interpolation in closed form, noise and failures of known size."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyvae.observe import Binarise, Readings, chain


def field(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Two channels that are linear along each axis."""
    return torch.stack([1 + 2 * rows - 3 * columns + 0.5 * rows * columns, columns - 4 * rows])


def grid(height: int = 5, width: int = 7) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    return field(rows, columns)[None]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 4), st.floats(0, 6)), min_size=1, max_size=5))
def test_a_field_that_is_linear_along_both_axes_is_read_exactly(places: list[tuple[float, float]]) -> None:
    found = Readings(places).read(grid())
    assert found.shape == (1, 2, len(places))
    torch.testing.assert_close(found[0], field(*torch.tensor(places, dtype=torch.float64).T), atol=1e-12, rtol=1e-12)


def test_m_is_the_channels_of_readings_and_then_of_what_works() -> None:
    x = torch.randn(3, 2, 5, 7)
    m = Readings(((1, 2), (4, 6), (0.5, 0)))({"x": x, "y": torch.arange(3)})["m"]
    expected = torch.stack([x[:, :, 1, 2], x[:, :, 4, 6], (x[:, :, 0, 0] + x[:, :, 1, 0]) / 2], 2)
    assert m.shape == (3, 4, 1, 3)
    assert torch.equal(m[:, :2, 0, :2], expected[:, :, :2])
    torch.testing.assert_close(m[:, :2, 0], expected)
    assert torch.equal(m[:, 2:], torch.ones(3, 2, 1, 3))


def test_earlier_times_come_after_now_with_noise_of_their_own_and_0_where_there_was_none() -> None:
    torch.manual_seed(0)
    x, past = torch.randn(500, 2, 3, 3), torch.randn(500, 4, 3, 2)
    past[:, 2:] = (past[:, 2:] > 0).float()
    places = [(0.5, 1), (2, 2)]
    found = Readings(places, history=3)({"x": x, "past": past})["m"]
    assert torch.equal(found[:, :, :1], Readings(places)({"x": x})["m"])
    assert torch.equal(found[:, 2:, 1:], past[:, 2:, :2])
    assert torch.equal(found[:, :2, 1:], past[:, :2, :2] * past[:, 2:, :2])
    noisy = Readings(places, [[0.1], [0.5]], history=3)({"x": x, "past": past})["m"]
    assert not noisy[:, :2][found[:, 2:] == 0].any()
    for channel, scale in enumerate((0.1, 0.5)):
        told = (noisy - found)[:, channel][found[:, 2 + channel] != 0]
        assert float(told.std()) == pytest.approx(scale, rel=0.05)
    with pytest.raises(ValueError, match=r"history: the batch holds no 'past', .*with_past\(data, positions, 3\)"):
        Readings(places, history=3)({"x": x})
    for wrong in (past[:, :, :1], past[:, :2], past[..., :1]):
        with pytest.raises(ValueError, match=r"history: 'past' is \[4, 2 or more, 2\] of 2 channels and 2 sensors"):
            Readings(places, history=3)({"x": x, "past": wrong})
    with pytest.raises(ValueError, match=r"Readings.history counts times, .* at least 1; got 0"):
        Readings(places, history=0)


def test_a_periodic_axis_goes_on_at_its_beginning() -> None:
    x = torch.randn(2, 1, 4, 6, dtype=torch.float64)
    corner = x[:, :, [3, 3, 0, 0], [5, 0, 5, 0]] * torch.tensor([0.375, 0.125, 0.375, 0.125]).double()
    found = Readings([(3.5, 5.25)], periodic=(True, True)).read(x)
    torch.testing.assert_close(found, corner.sum(2, keepdim=True))
    turned = Readings([(1.5, 5.25)], periodic=(False, True)).read(x)
    torch.testing.assert_close(turned, Readings([(1.5, 1.25)]).read(x.roll(2, -1)))


def test_noise_has_the_size_that_each_reading_states() -> None:
    x = torch.ones(20_000, 2, 3, 3)
    places = [(0, 0), (0.5, 1.5), (2, 2)]
    for noise, expected in (
        (0.3, torch.full((2, 3), 0.3)),
        ([0.1, 0.0, 0.5], torch.tensor([[0.1, 0.0, 0.5]] * 2)),
        ([[0.2], [0.4]], torch.tensor([[0.2] * 3, [0.4] * 3])),
        (torch.arange(6).view(2, 3) / 10, torch.arange(6).view(2, 3) / 10),
    ):
        torch.manual_seed(0)
        transform = Readings(places, noise)  # pyright: ignore[reportArgumentType]
        errors = transform({"x": x})["m"][:, :2].flatten(1) - 1
        torch.testing.assert_close(errors.std(0).view(2, 3), expected, rtol=0.02, atol=0)
        assert (errors.mean(0).abs() <= 4 * expected.flatten() / math.sqrt(20_000)).all()
        correlation = torch.corrcoef(errors[:, expected.flatten() > 0].T).abs()
        assert (correlation - torch.eye(len(correlation))).max() < 0.03
        assert hash(transform) == hash(Readings(places, noise))  # pyright: ignore[reportArgumentType]


def test_readings_fail_at_the_stated_chance_and_then_say_nothing() -> None:
    torch.manual_seed(0)
    x = torch.randn(20_000, 2, 4, 4)
    m = Readings([(0.5, 0.5), (3, 3)], noise=0.1, failing=0.3)({"x": x})["m"].flatten(1)
    readings, working = m[:, :4], m[:, 4:]
    assert set(working.unique().tolist()) == {0.0, 1.0}
    assert (working.mean(0) - 0.7).abs().max() < 0.015
    assert (torch.corrcoef(working.T) - torch.eye(4)).abs().max() < 0.03
    assert not readings[working == 0].any()
    assert readings[working == 1].ne(0).all()


def test_draws_are_fresh_follow_the_seed_and_leave_the_values_alone() -> None:
    x = torch.rand(6, 1, 4, 4)
    values, transform = {"x": x.clone()}, Readings([(1, 1.5)], 0.1, 0.5)
    torch.manual_seed(3)
    first, second = transform(values)["m"], transform(values)["m"]
    torch.manual_seed(3)
    assert torch.equal(transform(values)["m"], first)
    assert not torch.equal(first, second)
    assert list(values) == ["x"]
    assert torch.equal(values["x"], x)
    state = torch.random.get_rng_state()
    Readings([(1, 1.5)])(values)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_it_is_one_of_a_chain_and_reads_and_names_what_it_is_told() -> None:
    u = torch.rand(4, 1, 3, 3)
    made = chain(Binarise(name="u"), Readings([(0, 0)], of="u", name="seen"))({"u": u})
    assert torch.equal(made["seen"], torch.stack([(u[:, 0, 0, 0] > 0.5).float(), torch.ones(4)], 1)[..., None, None])
    x = torch.randn(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    m = Readings([(0.25, 0.5)])({"x": x})["m"]
    assert m.dtype == torch.float64
    m[:, 0].sum().backward()
    weights = torch.tensor([[0.375, 0.375, 0.0], [0.125, 0.125, 0.0], [0.0, 0.0, 0.0]]).double()
    assert x.grad is not None
    assert torch.equal(x.grad, weights.expand(2, 1, 3, 3))


def test_what_is_not_a_number_elsewhere_does_not_leak() -> None:
    x = torch.full((1, 1, 3, 3), math.nan)
    x[..., 1, 1], x[..., 1, 2] = 2.0, 4.0
    assert Readings([(1, 1), (1, 1.5)]).read(x).flatten().tolist() == [2.0, 3.0]


@pytest.mark.parametrize(
    ("place", "periodic", "words"),
    [
        ((-0.1, 0), (False, False), r"\(-0.1, 0\) lies outside a field of 3 x 4 points: its row is at least 0 and at"),
        ((0, 3.01), (False, False), r"\(0, 3.01\) lies outside a field of 3 x 4 points: its column is .* at most 3"),
        ((3, 0), (True, False), r"\(3, 0\) lies outside a field of 3 x 4 points: its row is at least 0 and below 3"),
        ((0, -1), (False, True), r"its column is at least 0 and below 4"),
    ],
)
def test_places_outside_the_field_are_named(place: tuple, periodic: tuple, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Readings([(1, 1), place], periodic=periodic)({"x": torch.zeros(1, 2, 3, 4)})


def test_what_makes_no_sense_is_refused() -> None:
    for wrong in ([], [1, 2], [(1, 2, 3)], [(1, math.nan)], [(1, "a")], [(1, 2), (3,)], None, torch.zeros(0, 2)):
        with pytest.raises(ValueError, match=r"Readings.coordinates lists \(row, column\) pairs of numbers"):
            Readings(wrong)  # pyright: ignore[reportArgumentType]
    for wrong in (-0.1, [0.1, -1.0], math.inf, "a", [], [[[1.0]]], None):
        with pytest.raises(ValueError, match=r"Readings.noise is a standard deviation of at least 0"):
            Readings([(0, 0)], wrong)  # pyright: ignore[reportArgumentType]
    for wrong in (-0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match=r"Readings.failing is the chance of a reading to fail"):
            Readings([(0, 0)], failing=wrong)
    with pytest.raises(ValueError, match=r"noise of x has the shape \[3\], which does not fit 2 channels of 1 sensors"):
        Readings([(0, 0)], [0.1, 0.2, 0.3])({"x": torch.zeros(1, 2, 3, 4)})
    with pytest.raises(ValueError, match=r"readings are of fields \[B, C, H, W\]; got x \[5, 3\]"):
        Readings([(0, 0)])({"x": torch.zeros(5, 3)})
