"""Linear baselines in closed form, behind the same calls as a trained model."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from polyvae.checks.ranges import Count
from polyvae.model.distributions.columns import Product, Standardised
from polyvae.model.distributions.normal import CholeskyNormal
from polyvae.model.distributions.point import Point
from polyvae.model.networks.prepared import Standardise
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.spec import Column, Spec
from polyvae.model.vae import VAE, Values
from polyvae.objectives.objective import Objective
from polyvae.objectives.terms import Reconstruction
from polyvae.recipes.recording import Recipe, recipe


class Units(Standardise):
    """y = (T(x) - centre) / scale, both fitted and kept with the weights; T the logarithm of positive columns."""

    def __init__(self, spec: Spec) -> None:
        kinds = ["positive" if column.kind == "positive" else "real" for column in spec.columns]
        super().__init__([Column(kind) for kind in kinds])
        self.register_buffer("centre", self.centre)
        self.register_buffer("scale", self.scale)
        for kind in ("real", "positive"):
            places = [n for n, each in enumerate(kinds) if each == kind]
            self.register_buffer(f"{kind}_places", torch.tensor(places, dtype=torch.long), persistent=False)

    def law(self, loc: Tensor, scale: Tensor) -> Distribution:
        """The law of x where y ~ N(loc, s^2 I), loc [B, *x]."""
        laws, places = [], [self.get_buffer("real_places"), self.get_buffer("positive_places")]
        for place, log in zip(places, (False, True), strict=True):
            normal = _normal(loc if len(place) == loc.shape[1] else loc.index_select(1, place), scale)
            shape = (-1, *[1] * (loc.ndim - 2))
            laws.append(Standardised(normal, self.centre[place].view(shape), self.scale[place].view(shape), log))
        held = [n for n in range(2) if len(places[n])]
        return laws[held[0]] if len(held) == 1 else Product(laws, places)


def _normal(loc: Tensor, scale: Tensor) -> Distribution:
    """N(loc, s^2 I) over all but the first dimension."""
    return Independent(Normal(loc, scale.expand_as(loc), validate_args=False), loc.ndim - 1)


class LinearDecoder(nn.Module):
    """p(y | z) = N(W z + mu, s^2 I), all fixed, as a law of x: y is x, or x in the `units`."""

    weight: Tensor
    mean: Tensor
    scale: Tensor
    given = ("z",)

    def __init__(self, spec: Spec, latent: int, units: Units | None) -> None:
        super().__init__()
        if not 1 <= latent < spec.dimensions:
            raise ValueError(f"latent is at least 1 and below the {spec.dimensions} values of an example; got {latent}")
        self.shape, self.units = spec.x, units
        self.register_buffer("weight", torch.zeros(spec.dimensions, latent))
        self.register_buffer("mean", torch.zeros(spec.dimensions))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, values: Values) -> Distribution:
        loc = torch.addmm(self.mean, values["z"], self.weight.T).unflatten(1, self.shape)
        return _normal(loc, self.scale) if self.units is None else self.units.law(loc, self.scale)


class LinearEncoder(nn.Module):
    """z = A (y - mu) + L eps, all fixed; a point where L is zero. y is x, or x in the `units`."""

    weight: Tensor
    mean: Tensor
    tril: Tensor
    given = ("x",)

    def __init__(self, spec: Spec, latent: int, units: Units | None, point: bool) -> None:
        super().__init__()
        self.point, self.units = point, units
        self.register_buffer("weight", torch.zeros(latent, spec.dimensions))
        self.register_buffer("mean", torch.zeros(spec.dimensions))
        self.register_buffer("tril", torch.eye(latent))

    def forward(self, values: Values) -> Distribution:
        y = values["x"] if self.units is None else self.units(values["x"])
        loc = (y.flatten(1) - self.mean) @ self.weight.T
        if self.point:
            return Point(loc)
        return CholeskyNormal(loc, scale_tril=self.tril.expand(loc.shape[0], -1, -1), validate_args=False)


@recipe
def ppca(spec: Spec, latent: Count | None = None) -> Recipe:
    """Probabilistic principal component analysis at its maximum likelihood.

    p(x) = N(mu, W W^T + s^2 I) with W = U (Lambda - s^2 I)^(1/2), s^2 the mean of the discarded eigenvalues. Its
    posterior is exact, so the bound equals log p(x).

    Of columns x is their difference to their means in their standard deviations, or in one for all, whichever is the
    likelier for the training part; of positive ones their logarithm's. The law is one of the user's units all the same.

    `latent`: dimensions of z, the components; by default 16, or one fewer than an example has values.

    Tipping, Bishop: Probabilistic Principal Component Analysis, 1999.
    """
    latent, units = _components(spec, latent), Units(spec) if spec.columns else None
    decoder, encoder = LinearDecoder(spec, latent, units), LinearEncoder(spec, latent, units, point=False)

    def solve(values: Values) -> None:
        x = values["x"]
        mean, axes, variances, noise = _fitted(x, latent, units)
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
def pca(spec: Spec, latent: Count | None = None) -> Recipe:
    """Principal component analysis: the linear code and reconstruction of least squared error.

    Codes are whitened, so that N(0, I) fits their mean and covariance. The likelihood is a normal with the residual
    variance per value; the posterior is a point, so no bound exists. Columns have the scales that `ppca` would choose,
    of positive ones those of logarithms, and their squared errors are in them.

    `latent`: dimensions of z, the components; by default 16, or one fewer than an example has values.

    Pearson: On Lines and Planes of Closest Fit to Systems of Points in Space, 1901.
    """
    latent, units = _components(spec, latent), Units(spec) if spec.columns else None
    decoder, encoder = LinearDecoder(spec, latent, units), LinearEncoder(spec, latent, units, point=True)

    def solve(values: Values) -> None:
        x = values["x"]
        mean, axes, variances, noise = _fitted(x, latent, units)
        deviations = np.sqrt(np.maximum(variances, np.finfo(np.float32).tiny))
        residual = noise * (spec.dimensions - latent) / spec.dimensions
        _fill(decoder, weight=axes.T * deviations, mean=mean, scale=np.sqrt(residual))
        _fill(encoder, weight=axes / deviations[:, None], mean=mean)

    objective = Objective({"reconstruction": Reconstruction()})
    return Recipe(VAE(encoder, StandardNormal(latent), decoder), objective, monitor="reconstruction", solve=solve)


def _components(spec: Spec, latent: int | None) -> int:
    return min(16, spec.dimensions - 1) if latent is None else latent


Principal = tuple[np.ndarray, np.ndarray, np.ndarray, float]
_ROUNDING = 1e-12  # of the variance: what rounding to single precision leaves of columns that follow from others


def _fitted(x: Tensor, latent: int, units: Units | None) -> Principal:
    """What `_principal` finds in x, or in x in the units, which are chosen here."""
    if units is None:
        return _principal(x, latent)
    _fill(units, centre=0.0, scale=1.0)
    y = deepcopy(units).cpu()(x.double().cpu())
    over = (0, *range(2, y.ndim))
    # Rounded to what is kept: what rounding leaves of the mean is found again as that of y.
    centre = y.mean(over).to(units.centre.dtype)
    y = y - centre.double().view(-1, *[1] * (y.ndim - 2))
    spread = y.square().mean(over).sqrt()
    spread = torch.where(spread > 1e-12 * centre.abs(), spread, 1.0)
    best, likelihood, refused = None, -np.inf, []
    scales = [spread, spread.square().mean().sqrt().expand_as(spread)]
    for scale in scales[: len(spread)]:  # which are the same of one column
        scale = scale.to(units.scale.dtype)
        try:
            found = _principal(y / scale.double().view(-1, *[1] * (y.ndim - 2)), latent)
        except TooManyComponents as error:
            refused.append(error)
            continue
        score = _likelihood(found) - float(scale.double().log().sum()) * y[0, 0].numel()
        if best is None or score > likelihood:
            best, likelihood = found, score
            _fill(units, centre=centre.numpy(), scale=scale.numpy())
    if best is None:
        raise max(refused, key=lambda error: error.most)
    return best


def _likelihood(found: Principal) -> float:
    """The largest mean log p(x) of these components, but for what their data share: Tipping and Bishop's equation 8."""
    mean, _, kept, noise = found
    return -0.5 * float(np.log(kept).sum() + (len(mean) - len(kept)) * np.log(noise))


class TooManyComponents(ValueError):
    """So many components leave no noise; `most` do, 0 where one is too many."""

    def __init__(self, message: str, most: int) -> None:
        super().__init__(message)
        self.most = most


def _principal(x: Tensor, latent: int) -> Principal:
    """Mean [D], axes [d, D], their variances [d] and the other directions' mean variance, at maximum likelihood.

    Raises TooManyComponents where the other directions hold no more of the variance than rounding does.
    """
    rows = x.flatten(1).double().cpu().numpy()
    mean = rows.mean(0)
    rows = rows - mean  # far from zero the solver's own sums of squares would lose the digits that matter
    if rows.shape[0] >= rows.shape[1]:
        variances, axes = np.linalg.eigh(rows.T @ rows / len(rows))
        variances, axes = variances[::-1].clip(min=0), axes.T[::-1]
    else:
        _, deviations, axes = np.linalg.svd(rows, full_matrices=False)
        variances = np.square(deviations) / len(rows)
    left = variances[::-1].cumsum()[::-1]  # by as many components
    most = max(0, int((left > _ROUNDING * left[0]).sum()) - 1)
    if len(rows) <= latent:
        raise TooManyComponents(f"latent is below the number of training examples, {len(rows)}; got {latent}", most)
    if latent > most:
        message = f"latent is too large: {latent} components explain these data exactly; ask for fewer"
        raise TooManyComponents(message, most)
    return mean, axes[:latent], variances[:latent], float(left[latent] / (rows.shape[1] - latent))


def _fill(module: nn.Module, **values: np.ndarray | float) -> None:
    for name, value in values.items():
        module.get_buffer(name).copy_(torch.as_tensor(value))
