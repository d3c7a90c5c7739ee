"""Penalties of codes and decoders: of the codes' covariance, of their size, of how steep a decoder is."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent
from torch.nn.functional import normalize
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from polyvae.checks.names import one_of
from polyvae.model.draw import first_heads, total
from polyvae.model.laws import repeat
from polyvae.model.precision import full, full_precision
from polyvae.model.vae import Draw, Latent

PARTS = ("diagonal", "off-diagonal")


class Covariance(nn.Module):
    """How far the codes' covariance C is from that of N(0, I), scalar, summed over latents.

    `part`: "off-diagonal", sum_i!=j C_ij^2, or "diagonal", sum_i (C_ii - 1)^2. C is Cov_x[mu(x)], of the posteriors'
    means, or with `aggregate` that of the aggregate posterior, E_x[Cov q(z | x)] + Cov_x[mu(x)].

    The covariance of a batch of B is divided by B - 1, so that it is unbiased; its square is too large by its variance,
    of order 1 / B. Over several processes it is the mean of each one's own, within its share of the batch. ValueError
    for a batch of one example and for posteriors without means and covariances in closed form.

    Kumar, Sattigeri, Balakrishnan: Variational Inference of Disentangled Latent Concepts from Unlabeled Observations,
    2018 (DIP-VAE I, and with `aggregate` II).
    """

    trains_prior = False

    def __init__(self, part: str, aggregate: bool = False) -> None:
        super().__init__()
        self.part = one_of(PARTS, part, "part")
        self.aggregate = aggregate

    def forward(self, draw: Draw) -> Tensor:
        return total(self._distance(latent) for latent in draw.latents.values())

    def _distance(self, latent: Latent) -> Tensor:
        found = covariance(latent, self.aggregate)
        own = found.diagonal()
        squares = (own - 1).square() if self.part == "diagonal" else found.square().sum(1) - own.square()
        return squares.sum()

    def extra_repr(self) -> str:
        return f"{self.part!r}, aggregate={self.aggregate}"


def covariance(latent: Latent, aggregate: bool = False) -> Tensor:
    """The covariance [d, d] of the posterior's means over the batch, or with `aggregate` of z itself."""
    q = latent.q
    check_covariance(q)
    if latent.summed is not None or latent.given is not False:
        raise ValueError(f"the covariance of codes is one of draws, and {latent.name!r} is given or summed over")
    means = q.mean.flatten(1)
    if len(means) < 2:
        raise ValueError("the covariance of codes needs a batch of at least 2 examples; got 1")
    apart = means - means.mean(0)
    found = apart.T @ apart / (len(means) - 1)
    if not aggregate:
        return found
    full = getattr(q, "covariance_matrix", None)
    return found + (q.variance.flatten(1).mean(0).diag_embed() if full is None else full.mean(0))


def check_covariance(q: Distribution) -> None:
    """ValueError for a posterior whose mean and covariance have no closed form."""
    factorised = isinstance(q, Independent) and not q.base_dist.event_shape
    if not factorised and not hasattr(q, "covariance_matrix"):
        raise ValueError(f"posterior: the covariance of codes is known of normal ones; got a {type(q).__name__}")


class CodeSize(nn.Module):
    """|z|^2 / 2 over every latent, [K, B].

    Ghosh, Sajjadi, Vergari, Black, Schoelkopf: From Variational to Deterministic Autoencoders, 2020.
    """

    trains_prior = False

    def forward(self, draw: Draw) -> Tensor:
        return total(0.5 * latent.z.flatten(2).square().sum(2) for latent in draw.latents.values())


class Steepness(nn.Module):
    """|dD(z) / dz|^2 / 2, [K, B]: half the squared Frobenius norm of the Jacobian of the heads' means, D, at the draws.

    Estimated without bias by one normal direction v an example, |v' dD / dz|^2, so that it costs one more pass through
    the decoder and one back. It moves the decoder alone: the draws are taken as they are. Layers that mix the rows of a
    batch, such as BatchNorm, make it the slope of the others' outputs too.

    Ghosh, Sajjadi, Vergari, Black, Schoelkopf: From Variational to Deterministic Autoencoders, 2020 (RAE-GP);
    Hutchinson: A Stochastic Estimator of the Trace of the Influence Matrix, 1989.
    """

    trains_prior = False
    compiles = False  # it differentiates as it goes

    def forward(self, draw: Draw) -> Tensor:
        assert draw.decode is not None
        # Validation keeps no graphs; of copies made outside its mode they can be kept.
        with torch.inference_mode(False), torch.enable_grad():
            values = {name: value.clone().detach() for name, value in draw.values.items()}
            z = {name: values.pop(name).requires_grad_() for name in draw.paths}
            beside = {name: repeat(value, draw.samples) for name, value in values.items()}
            laws = draw.decode({**beside, **z})
            means = [laws[name].mean for name in first_heads(draw.heads)]
            moved = total((mean * torch.randn_like(mean)).sum() for mean in means)
            slopes = torch.autograd.grad(moved, list(z.values()), create_graph=True)
        shape = next(iter(draw.latents.values())).z.shape[:2]
        return total(0.5 * slope.flatten(1).square().sum(1).view(shape) for slope in slopes)


class SpectralNorms(nn.Module):
    """The sum of the largest singular values of a model's layers, scalar: a bound on how steep the whole can be.

    sigma(W) = u' W v of a linear layer's matrix W or a convolution's [out, in * places], u and v by one step of power
    iteration at each call in training mode, of which u is kept as a buffer: a lower bound on each, near to it once
    the weights settle. The layers stay the model's, whose weights it moves.

    Vahdat, Kautz: NVAE: A Deep Hierarchical Variational Autoencoder, 2020; Yoshida, Miyato: Spectral Norm
    Regularization for Improving the Generalizability of Deep Learning, 2017.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._layers = tuple(each for each in model.modules() if isinstance(each, (nn.Linear, _ConvNd)))
        if not self._layers:
            raise ValueError("spectral norms are of linear layers and convolutions; the model has none")
        for number, layer in enumerate(self._layers):
            self.register_buffer(f"u{number}", normalize(torch.randn(len(_matrix(layer))), dim=0))

    def forward(self, draw: Draw) -> Tensor:
        return total(self._largest(number, _matrix(layer)) for number, layer in enumerate(self._layers))

    def _largest(self, number: int, matrix: Tensor) -> Tensor:
        matrix = full(matrix)
        with full_precision(matrix.device):
            fixed, u = matrix.detach(), getattr(self, f"u{number}")
            v = normalize(fixed.T @ u, dim=0)
            if self.training:
                u = normalize(fixed @ v, dim=0)
                getattr(self, f"u{number}").copy_(u)
            return u @ (matrix @ v)


def _matrix(layer: nn.Module) -> Tensor:
    """A layer's weight as a matrix [out, in * places]."""
    weight: Tensor = layer.weight  # pyright: ignore[reportAssignmentType]
    turned = weight.transpose(0, 1) if isinstance(layer, _ConvTransposeNd) else weight
    return turned.flatten(1)
