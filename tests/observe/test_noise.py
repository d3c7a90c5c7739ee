"""Noise on what is seen: its size, where it falls, what is refused."""

from __future__ import annotations

import pytest
import torch

from polyvae.observe.masks import observation
from polyvae.observe.noise import Noisy


def test_noise_has_its_size_where_something_is_seen_and_none_elsewhere() -> None:
    torch.manual_seed(0)
    x = torch.rand(400, 2, 5, 6)
    values = observation("grid", 6)({"x": x})
    m = Noisy((0.5, 0.01))(values)["m"]
    assert torch.equal(m[:, 2:], values["m"][:, 2:])
    seen = m[:, 2:].expand(-1, 2, -1, -1) > 0
    added = (m - values["m"])[:, :2]
    assert (added[~seen] == 0).all()
    for channel, scale in enumerate((0.5, 0.01)):
        mine = added[:, channel][seen[:, channel]]
        assert float(mine.std()) == pytest.approx(scale, rel=0.06)
        assert abs(float(mine.mean())) < 0.1 * scale


def test_columns_have_noise_of_their_own() -> None:
    torch.manual_seed(0)
    values = observation("points", positions=[0, 2])({"x": torch.rand(1000, 3)})
    added = Noisy((0.1, 5.0, 0.0))(values)["m"] - values["m"]
    assert float(added[:, 0].std()) == pytest.approx(0.1, rel=0.08)
    assert (added[:, 1:] == 0).all()


def test_it_is_drawn_afresh_and_leaves_other_values() -> None:
    x = torch.rand(4, 3)
    values = observation("left")({"x": x, "y": torch.arange(4)})
    first, second = Noisy((0.1,) * 3)(values), Noisy((0.1,) * 3)(values)
    assert not torch.equal(first["m"], second["m"])
    assert torch.equal(first["x"], x)
    assert torch.equal(first["y"], values["y"])
    assert Noisy((0.1,) * 3)({"x": x}).keys() == {"x"}
    assert torch.equal(Noisy((0.0,) * 3)(values)["m"], values["m"])


@pytest.mark.parametrize("scale", [-0.1, float("nan"), float("inf")])
def test_what_is_no_deviation_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="standard deviations, from 0 on; got"):
        Noisy((0.1, scale))
