"""Regression from what is seen to principal components, as a baseline."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from polyvae.completion.baselines import FittedRegression, baselines
from polyvae.completion.gappy_pca import GappyPCA
from polyvae.completion.normal import ConditionedNormal
from polyvae.completion.regression import best_regression


def waves(count: int, seed: int) -> Tensor:
    """A wave that travels around a channel, whose second harmonic no straight axis tells from the first."""
    phase = torch.rand(count, 1, 1, 1, generator=torch.Generator().manual_seed(seed)) * 6.2832
    across = torch.linspace(0, 6.2832, 17)[:-1].view(1, 1, 1, 16)
    heights = torch.linspace(0.5, 1, 4).view(1, 1, 4, 1)
    return heights * (torch.sin(across - phase) + 0.5 * torch.sin(2 * (across - phase)) + 0.2 * torch.cos(3 * phase))


def mask_of(*columns: int) -> Tensor:
    mask = torch.zeros(1, 1, 4, 16)
    mask[..., 1, list(columns)] = 1.0
    return mask


def test_from_two_places_it_beats_every_law_that_is_linear() -> None:
    x, held, mask = waves(80, 0), waves(40, 1), mask_of(2, 7)
    basis = GappyPCA(20).fit(x)
    mean, std = best_regression(basis, x, mask[0].bool(), held).complete(held, mask)
    linear, _ = ConditionedNormal.fit(x, ridge=1e-6).complete(held, mask)
    hidden = (mask == 0).expand_as(held)
    error = (mean - held)[hidden].square().mean().sqrt()
    assert error < 0.3 * (linear - held)[hidden].square().mean().sqrt()
    assert 0.2 < ((mean - held) / std)[hidden].square().mean().sqrt() < 5


def test_masks_that_differ_have_no_such_regression() -> None:
    x, held = waves(30, 0), waves(10, 1)
    basis, own = GappyPCA(5).fit(x), torch.cat([mask_of(2, 7), mask_of(3, 9)]).repeat(5, 1, 1, 1)
    fits = [FittedRegression(basis, x)]
    assert "Gaussian process" not in [each.name for each in baselines(held, fits, {"x": held, "seen": own})]
    found = baselines(held, fits, {"x": held, "seen": mask_of(2, 7)})
    assert "Gaussian process" in [each.name for each in found]
    assert found[-1].complete(held, mask_of(2, 7)).mean.shape == held.shape


def test_nothing_seen_is_left_to_the_others() -> None:
    x = waves(30, 0)
    nothing = {"x": x, "seen": torch.zeros(1, 1, 4, 16)}
    assert FittedRegression(GappyPCA(5).fit(x), x).at(nothing) is None


def test_noise_of_what_is_read_makes_it_smoother_and_surer() -> None:
    x, held, mask, stream = waves(80, 0), waves(200, 1), mask_of(2, 7, 11), torch.Generator().manual_seed(3)
    read, asked = (each + 0.1 * torch.randn(each.shape, generator=stream) for each in (x, held))
    basis, seen = GappyPCA(20).fit(x), mask[0].bool()
    told = best_regression(basis, x, seen, held, (read, asked)).complete(asked, mask)[0]
    blind = best_regression(basis, x, seen, held).complete(asked, mask)[0]
    assert (told - held).square().mean() < 0.9 * (blind - held).square().mean()


@pytest.mark.parametrize("rows", [1])
def test_refused(rows) -> None:
    with pytest.raises(ValueError, match="two examples"):
        best_regression(GappyPCA(3).fit(waves(9, 0)), waves(rows, 0), mask_of(2)[0].bool(), waves(5, 1))
