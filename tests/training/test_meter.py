"""Running means and the watch over the loss."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from polyvae.checks.finite import NonFiniteError
from polyvae.training.meter import Meter

CPU = torch.device("cpu")


def values(loss: float, kl: float = 1.0, bound: float = 0.0) -> dict[str, Tensor]:
    return {"loss": torch.tensor(loss), "kl": torch.tensor(kl), "bound": torch.tensor(bound)}


def lazy(look: int = 50) -> Meter:
    """A meter as it works on an accelerator: values are read every `look` steps."""
    meter = Meter(CPU)
    meter.look = look
    return meter


def test_means_are_weighted_by_the_number_of_examples() -> None:
    meter = Meter(CPU)
    meter.add(values(1.0, 10.0), 3, 0)
    meter.add(values(5.0, 20.0), 1, 1)
    assert meter.means() == {"loss": 2.0, "kl": 12.5, "bound": 0.0}


def test_a_process_without_a_share_adds_nothing() -> None:
    meter = Meter(CPU)
    assert meter.means() == {}
    meter.add(values(1.0), 4, 0)
    meter.add(values(100.0), 0, 1)
    assert meter.means()["loss"] == 1.0


def test_sums_do_not_depend_on_when_they_were_read_or_saved() -> None:
    rows = [values(float(v), float(v) ** 2) for v in torch.rand(60, generator=torch.Generator().manual_seed(0))]
    eager, late, stopped = Meter(CPU), lazy(7), lazy(100)
    for step, row in enumerate(rows):
        eager.add(row, 3 + step % 2, step)
        late.add(row, 3 + step % 2, step)
        stopped.add(row, 3 + step % 2, step)
        if step == 31:
            saved = stopped.names, stopped.totals()
            stopped = lazy(100)
            stopped.restore(*saved)
    assert eager.means() == late.means() == stopped.means()


def test_an_epoch_ends_with_a_reset() -> None:
    meter = Meter(CPU)
    meter.add(values(1.0), 3, 0)
    meter.read()
    meter.reset()
    meter.add(values(7.0), 2, 1)
    assert meter.means()["loss"] == 7.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_on_a_cpu_a_loss_that_is_not_finite_stops_its_own_step(bad: float) -> None:
    meter = Meter(CPU)
    meter.add(values(1.0), 1, 16)
    with pytest.raises(NonFiniteError, match=rf"at step 17 loss = {bad}, kl = inf$"):
        meter.add(values(bad, math.inf), 1, 17)


def test_elsewhere_the_first_bad_step_is_named_at_the_next_look() -> None:
    meter = lazy(5)
    for step in range(4):
        meter.add(values(math.nan if step >= 2 else 1.0), 1, step)
    with pytest.raises(NonFiniteError, match="at step 2 loss = nan"):
        meter.add(values(1.0), 1, 4)


def test_a_bound_that_is_not_finite_is_no_fault() -> None:
    meter = Meter(CPU)
    meter.add(values(1.0, bound=-math.inf), 2, 0)
    assert meter.means()["bound"] == -math.inf


def test_values_are_not_read_between_looks_and_hold_no_graph() -> None:
    meter = lazy()
    leaf = torch.ones((), requires_grad=True)
    for step in range(49):
        meter.add({"loss": leaf * 2}, 1, step)
    assert meter.count == 0
    assert not any(row.requires_grad for row, _, _ in meter._waiting)
    meter.add({"loss": leaf * 2}, 1, 49)
    assert meter.count == 50
