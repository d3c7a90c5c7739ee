"""Linear baselines in closed form, behind the same calls as a trained model."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from polyvae.core import VAE, Values
from polyvae.distributions import CholeskyNormal, Point
from polyvae.objectives import Objective
from polyvae.priors import StandardNormal
from polyvae.ranges import Count
from polyvae.recipes.recipe import Recipe, recipe
from polyvae.spec import Spec
from polyvae.terms import Reconstruction


class LinearDecoder(nn.Module):
    """p(x | z) = N(W z + mu, s^2 I), all fixed."""

    weight: Tensor
    mean: Tensor
    scale: Tensor
    given = ("z",)

    def __init__(self, spec: Spec, latent: int) -> None:
        super().__init__()
        if not 1 <= latent < spec.dimensions:
            raise ValueError(f"latent is at least 1 and below the {spec.dimensions} values of an example; got {latent}")
        self.shape = spec.x
        self.register_buffer("weight", torch.zeros(spec.dimensions, latent))
        self.register_buffer("mean", torch.zeros(spec.dimensions))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, values: Values) -> Distribution:
        loc = torch.addmm(self.mean, values["z"], self.weight.T).unflatten(1, self.shape)
        return Independent(Normal(loc, self.scale.expand_as(loc), validate_args=False), len(self.shape))


class LinearEncoder(nn.Module):
    """z = A (x - mu) + L eps, all fixed; a point where L is zero."""

    weight: Tensor
    mean: Tensor
    tril: Tensor
    given = ("x",)

    def __init__(self, spec: Spec, latent: int, point: bool) -> None:
        super().__init__()
        self.point = point
        self.register_buffer("weight", torch.zeros(latent, spec.dimensions))
        self.register_buffer("mean", torch.zeros(spec.dimensions))
        self.register_buffer("tril", torch.eye(latent))

    def forward(self, values: Values) -> Distribution:
        loc = (values["x"].flatten(1) - self.mean) @ self.weight.T
        if self.point:
            return Point(loc)
        return CholeskyNormal(loc, scale_tril=self.tril.expand(len(loc), -1, -1), validate_args=False)


@recipe
def ppca(spec: Spec, latent: Count = 16) -> Recipe:
    """Probabilistic principal component analysis at its maximum likelihood.

    p(x) = N(mu, W W^T + s^2 I) with W = U (Lambda - s^2 I)^(1/2), s^2 the mean of the discarded eigenvalues. Its
    posterior is exact, so the bound equals log p(x).

    `latent`: dimensions of z, the components.

    Tipping, Bishop: Probabilistic Principal Component Analysis, 1999.
    """
    decoder, encoder = LinearDecoder(spec, latent), LinearEncoder(spec, latent, point=False)

    def solve(x: Tensor) -> None:
        mean, axes, variances, noise = _principal(x, latent)
        weight = axes.T * np.sqrt(np.maximum(variances - noise, 0))
        precision = weight.T @ weight + noise * np.eye(latent)
        _fill(decoder, weight=weight, mean=mean, scale=np.sqrt(noise))
        _fill(
            encoder,
            weight=np.linalg.solve(precision, weight.T),
            mean=mean,
            tril=np.linalg.cholesky(noise * np.linalg.inv(precision)),
        )

    return Recipe(VAE(encoder, StandardNormal(latent), decoder), Objective(), solve=solve)


@recipe
def pca(spec: Spec, latent: Count = 16) -> Recipe:
    """Principal component analysis: the linear code and reconstruction of least squared error.

    Codes are whitened, so that N(0, I) fits their mean and covariance. The likelihood is a normal with the residual
    variance per value; the posterior is a point, so no bound exists.

    `latent`: dimensions of z, the components.

    Pearson: On Lines and Planes of Closest Fit to Systems of Points in Space, 1901.
    """
    decoder, encoder = LinearDecoder(spec, latent), LinearEncoder(spec, latent, point=True)

    def solve(x: Tensor) -> None:
        mean, axes, variances, noise = _principal(x, latent)
        deviations = np.sqrt(np.maximum(variances, np.finfo(np.float32).tiny))
        residual = noise * (spec.dimensions - latent) / spec.dimensions
        _fill(decoder, weight=axes.T * deviations, mean=mean, scale=np.sqrt(residual))
        _fill(encoder, weight=axes / deviations[:, None], mean=mean)

    objective = Objective({"reconstruction": Reconstruction()})
    return Recipe(VAE(encoder, StandardNormal(latent), decoder), objective, monitor="reconstruction", solve=solve)


def _principal(x: Tensor, latent: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Mean [D], axes [d, D], their variances [d] and the other directions' mean variance, at maximum likelihood."""
    from sklearn.decomposition import PCA

    rows = x.flatten(1).double().cpu().numpy()
    if len(rows) <= latent:
        raise ValueError(f"latent is below the number of training examples, {len(rows)}; got {latent}")
    # Left to itself it takes a randomised solver for large data, whose axes are not those of maximum likelihood.
    fitted = PCA(latent, svd_solver="covariance_eigh" if rows.shape[0] >= rows.shape[1] else "full").fit(rows)
    count = len(rows)
    kept = fitted.explained_variance_ * (count - 1) / count
    noise = (rows.var(0).sum() - kept.sum()) / (rows.shape[1] - latent)
    if noise <= 0:
        raise ValueError(f"latent is too large: {latent} components explain these data exactly; ask for fewer")
    return rows.mean(0), np.asarray(fitted.components_), kept, float(noise)


def _fill(module: nn.Module, **values: np.ndarray | float) -> None:
    for name, value in values.items():
        module.get_buffer(name).copy_(torch.as_tensor(value))
