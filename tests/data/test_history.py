"""What sensors read before: rows of a series, within their part and run, and nothing where there was none."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import polyvae as pv
from polyvae.data import Data, DataError, Split

PLACES = [(0.5, 1.25), (2, 3)]


def series(times: Tensor, runs: Tensor | None = None) -> Split:
    """Fields [N, 2, 3, 4] whose values tell their time and run."""
    of_run = torch.zeros(len(times)) if runs is None else runs
    level = (100 * of_run + times)[:, None, None, None] + torch.arange(24).view(2, 3, 4) / 7
    tensors = {"x": level.float(), "t": times.float()[:, None]}
    return Split(tensors if runs is None else {**tensors, "run": runs.long()[:, None]})


def data(*parts: Split) -> Data:
    return Data("series", *parts, pv.Spec((2, 3, 4), levels=None))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 5))
def test_the_past_is_that_of_the_same_part_and_run_by_brute_force(seed: int, history: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    times, runs = 85.05 + torch.arange(36) // 3 * 0.1, torch.arange(36) % 3
    mixed = torch.randperm(36, generator=draws).split([20, 8, 8])
    parts = [series(times[rows], runs[rows]) for rows in mixed]
    sensors = pv.observe.Readings(PLACES)
    for before, after in zip(parts, pv.data.with_past(data(*parts), PLACES, history).parts.values(), strict=True):
        past = after.tensors["past"]
        assert past.shape == (len(before), 4, history - 1, 2)
        read = sensors.read(before.tensors["x"])
        t, run = before.tensors["t"], before.tensors["run"]
        for row in range(len(before)):
            for back in range(1, history):
                earlier = ((t - (t[row] - 0.1 * back)).abs() < 0.01) & (run == run[row])
                expected = read[earlier[:, 0]].sum(0)  # one or none
                assert torch.equal(past[row, :2, back - 1], expected)
                assert (past[row, 2:, back - 1] == float(earlier.any())).all()


def test_blocks_that_are_held_out_leave_gaps() -> None:
    times = torch.arange(10).double()
    found = pv.data.with_past(data(series(times[[0, 1, 2, 6, 7]]), series(times[3:6]), series(times[8:])), PLACES, 3)
    works = [split.tensors["past"][:, 2, :, 0].tolist() for split in found.parts.values()]
    assert works == [[[0, 0], [1, 0], [1, 1], [0, 0], [1, 0]], [[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 0]]]
    assert found.call == {}


def test_several_series_that_are_not_told_apart_are_refused() -> None:
    """What came before one would be read of another."""
    times = torch.arange(10).double() // 2
    whole, none = series(times), series(times[:0])
    with pytest.raises(DataError, match=r'one example at a time of each run.*several at t = 0.*add "run"'):
        pv.data.with_past(data(whole, none, none), PLACES, 2)
    odd = Split({**whole.tensors, "run": torch.zeros(10, 2)})
    with pytest.raises(DataError, match=r"one number run of each example.*\[10, 2\]"):
        pv.data.with_past(data(odd, none, none), PLACES, 2)
    told = series(times, torch.arange(10) % 2)
    assert pv.data.with_past(data(told, none, none), PLACES, 2).train.tensors["past"][2:, 2:].eq(1).all()


def test_thousands_of_float_times_are_told_apart() -> None:
    times = torch.arange(4000).double() * 0.1
    found = pv.data.with_past(data(series(times), series(times[:0]), series(times[:0])), PLACES, 2)
    assert found.train.tensors["past"][1:, 2:].all()


def test_a_model_reads_what_was_put_beside_x() -> None:
    whole = pv.data.with_past(data(*map(series, torch.arange(40).double().split([14, 13, 13]))), PLACES, 4)
    m = pv.observe.Readings(PLACES, history=4)(whole.train.batch(torch.arange(14)))["m"]
    assert m.shape == (14, 4, 4, 2)
    assert torch.equal(m[5, :2, 1], m[4, :2, 0])
    assert torch.equal(m[:, 2:].sum((1, 2, 3))[:5], torch.tensor([4.0, 8, 12, 16, 16]))


def test_what_has_no_past_is_refused() -> None:
    whole = series(torch.arange(6).double())
    with pytest.raises(ValueError, match="history counts times, the present one among them, at least 2; got 1"):
        pv.data.with_past(data(whole, whole, whole), PLACES, 1)
    bare = Split({"x": whole.tensors["x"]})
    with pytest.raises(DataError, match=r"a time t of each example.*add t, or train without a history"):
        pv.data.with_past(data(bare, bare, bare), PLACES, 2)
    odd = series(torch.tensor([0.0, 1.0, 2.0, 3.5]))
    with pytest.raises(DataError, match="times that are whole numbers of steps apart"):
        pv.data.with_past(data(odd, odd, odd), PLACES, 2)
    still = series(torch.zeros(3))
    with pytest.raises(DataError, match="examples at several times"):
        pv.data.with_past(data(still, still, still), PLACES, 2)
    with pytest.raises(ValueError, match="lies outside a field of 3 x 4"):
        pv.data.with_past(data(whole, whole, whole), [(3, 0)], 2)
