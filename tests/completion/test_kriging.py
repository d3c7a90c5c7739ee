"""Kriging against the dense conditional of its own law, and against data made by it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from polyvae.completion.kriging import Kriging
from polyvae.model.kernels import kernel, squares


def places(height: int, width: int) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows.flatten(), columns.flatten()], 1).double() / max(height, width)


def law() -> Kriging:
    mean = torch.linspace(-1, 1, 60, dtype=torch.float64).view(2, 5, 6)
    lengths = torch.tensor([0.4, 0.7], dtype=torch.float64)
    return Kriging(mean, lengths, 2.0, 1e-3, torch.tensor([1.5, 0.3], dtype=torch.float64))


def covariance(own: Kriging) -> Tensor:
    scaled = places(5, 6) / own.lengths
    return kernel(squares(scaled, scaled), own.shape) + own.nugget * torch.eye(30, dtype=torch.float64)


@pytest.mark.parametrize("noise", [None, torch.tensor([0.2, 0.05], dtype=torch.float64)])
def test_each_channel_has_the_conditional_of_its_normal_law(noise) -> None:
    own, stream = law(), torch.Generator().manual_seed(0)
    x = torch.randn(7, 2, 5, 6, generator=stream, dtype=torch.float64)
    mask = (torch.rand(7, 1, 5, 6, generator=stream) < 0.3).double()
    mask[1] = mask[0]
    mean, std = own.complete(x.masked_fill(mask == 0, torch.nan), mask, noise)
    for row in range(7):
        seen = mask[row].flatten() != 0
        for channel in range(2):
            whole = own.level[channel] * covariance(own)
            read = whole[seen][:, seen] + (0 if noise is None else noise[channel]) * torch.eye(int(seen.sum()))
            gain = torch.linalg.solve(read, whole[seen]).T
            left = (x[row, channel] - own.mean[channel]).flatten()[seen]
            expected = own.mean[channel].flatten() + gain @ left
            spread = (whole - gain @ whole[seen]).diagonal().clamp(min=0).sqrt()
            torch.testing.assert_close(mean[row, channel].flatten(), expected, rtol=1e-8, atol=1e-8)
            torch.testing.assert_close(std[row, channel].flatten(), spread, rtol=1e-6, atol=1e-6)
        if noise is None:
            torch.testing.assert_close(mean[row, :, mask[row, 0] != 0], x[row, :, mask[row, 0] != 0])


def test_a_mask_without_a_place_leaves_the_mean_and_the_whole_spread() -> None:
    own = law()
    mean, std = own.complete(torch.full((1, 2, 5, 6), torch.nan, dtype=torch.float64), torch.zeros(1, 1, 5, 6))
    torch.testing.assert_close(mean[0], own.mean)
    torch.testing.assert_close(std[0, :, 0, 0], (own.level * (1 + own.nugget)).sqrt())


def test_the_kernel_of_generated_pictures_is_found_and_states_their_errors() -> None:
    own, stream = law(), torch.Generator().manual_seed(1)
    factor = torch.linalg.cholesky(covariance(own))
    drawn = torch.randn(400, 2, 30, generator=stream, dtype=torch.float64) @ factor.T * own.level.sqrt().view(2, 1)
    x = own.mean + drawn.view(400, 2, 5, 6)
    found = Kriging.fit(x[:300])
    assert found.lengths.tolist() == pytest.approx(own.lengths.tolist(), rel=0.5)
    assert found.level.tolist() == pytest.approx(own.level.tolist(), rel=0.5)
    mask = (torch.rand(100, 1, 5, 6, generator=stream) < 0.4).double()
    mean, std = found.complete(x[300:], mask)
    best, _ = own.complete(x[300:], mask)
    hidden = (mask == 0).expand_as(mean)
    assert (mean - x[300:])[hidden].square().mean() < 1.1 * (best - x[300:])[hidden].square().mean()
    assert ((mean - x[300:]) / std)[hidden].square().mean() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("x", [torch.zeros(1, 1, 4, 4), torch.zeros(5, 4), torch.full((5, 1, 4, 4), torch.nan)])
def test_refused(x) -> None:
    with pytest.raises(ValueError, match="kriging"):
        Kriging.fit(x)


def test_pictures_that_never_vary_are_their_mean() -> None:
    x = torch.ones(6, 1, 4, 4)
    mean, std = Kriging.fit(x).complete(x, torch.eye(4).view(1, 1, 4, 4))
    torch.testing.assert_close(mean, x)
    assert float(std.max()) == 0
