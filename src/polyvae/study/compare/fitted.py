"""Pictures of a model whose prior was fitted afterwards to what its posterior makes of the training part."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

from polyvae.data import Data
from polyvae.data.cuts import subset
from polyvae.evaluation.blocks import each_block, joined

COMPONENTS, EXAMPLES = 10, 10_000  # of the mixture, and how many latents it is fitted to at most


def fitted_pictures(run: Any, data: Data, count: int, seed: int = 0) -> Tensor | None:
    """Means of the likelihood at draws from a mixture of 10 normals with full covariances, fitted to z ~ q(z | x).

    `count` of them, in [0, 1], [count, C, H, W]. None where the model is conditional, or its latent is not one vector:
    no such prior stands for several levels, or for a map of codes.

    Ghosh, Sajjadi, Vergari, Black, Schölkopf: From Variational to Deterministic Autoencoders, 2020.
    """
    model = run.model
    if model.conditions or len(model.prior) != 1 or model.bounded_given:
        return None
    name = next(iter(model.prior))

    def drawn(model: Any, batch: Any) -> dict[str, Tensor]:
        return {"z": model.infer(batch).latents[name].z[0]}

    z = joined(each_block(run, subset(data.train, EXAMPLES, seed), drawn, seed))["z"]
    if z.ndim != 2 or not z.is_floating_point():
        return None
    mixture = GaussianMixture(COMPONENTS, random_state=seed, reg_covar=1e-5).fit(z.double().numpy())
    made, _ = mixture.sample(count)
    pictures = run.decode(torch.as_tensor(made, dtype=torch.float32))
    return torch.as_tensor(pictures).clamp(0, 1)
