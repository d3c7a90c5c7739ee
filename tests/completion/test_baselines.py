"""The baselines of a completion."""

import torch

from helpers.completing import random
from polyvae.completion.baselines import FittedPCA, baselines
from polyvae.completion.gappy_pca import GappyPCA, best_rank


def test_baselines_are_those_that_the_values_admit() -> None:
    pictures, held = random(6, 1, 4, 4), random(9, 1, 4, 4, seed=1)
    basis = GappyPCA(3).fit(random(20, 1, 4, 4, seed=2))
    seen = torch.zeros(9, 1, 4, 4)
    seen[:, :, ::2] = 1
    found = {each.name: each for each in baselines(pictures, [FittedPCA(basis)], {"x": held, "seen": seen})}
    assert list(found) == ["nearest", "linear", "gappy PCA"]
    assert [each.name for each in baselines(pictures)] == ["nearest", "linear"]
    assert [each.name for each in baselines(pictures.flatten(1))] == []
    best = best_rank(basis, held, seen)
    assert found["gappy PCA"].rank == best.rank
    torch.testing.assert_close(found["gappy PCA"].complete(pictures, seen[:6]).mean, best.complete(pictures, seen[:6]))
    nothing = torch.zeros(6, 1, 4, 4)
    torch.testing.assert_close(found["linear"].complete(pictures, nothing).mean[0].double(), basis.mean.view(1, 4, 4))
