"""Autoencoders that hold all codes to the prior, or their decoder smooth, in the place of a divergence of each code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrizations import spectral_norm

from polyvae.checks.names import find
from polyvae.checks.ranges import Positive, Weight
from polyvae.model.families.columns import is_law
from polyvae.model.families.real import FixedNormal
from polyvae.model.groups import Group
from polyvae.model.spec import Spec
from polyvae.objectives.objective import Objective, Weighted
from polyvae.objectives.penalties import CodeSize, Steepness
from polyvae.objectives.terms import MMD, Reconstruction
from polyvae.recipes.options import Likelihood, Penalty, Posterior
from polyvae.recipes.recording import Recipe, recipe
from polyvae.recipes.variants import vae


@recipe
def wae(
    spec: Spec,
    weight: Weight = 10.0,
    kernel: str = "imq",
    bandwidth: Positive = 1.0,
    posterior: Posterior = "point",
    likelihood: Likelihood = "normal",
    **options: Any,
) -> Recipe:
    """E_q[log p(x | z)] - lambda MMD(q(z), p(z)), the Wasserstein autoencoder.

    No divergence is computed, so that the posterior may be a point, which has no bound on log p(x). `weight`: lambda.
    `kernel`: "imq" or "rbf". `bandwidth`: the kernel's, in units of z, in which the standard prior has the deviation 1.
    `posterior`: "point", or a law, of which noise is drawn and of which the loss chooses the best epoch. `likelihood`:
    "normal", the squared error, and of columns of kinds that it is no law of each kind's own. `prior`: one with nothing
    to learn; beside a law also "flow" or "conditional", whose draws learn from the MMD.

    Tolstikhin, Bousquet, Gelly, Schoelkopf: Wasserstein Auto-Encoders, 2018 (WAE-MMD).
    """
    terms = {"reconstruction": Reconstruction(), "mmd": Weighted(MMD(kernel, bandwidth), weight)}
    return vae(spec, posterior=posterior, likelihood=_cost(likelihood, spec), objective=Objective(terms), **options)


@recipe
def bir_vae(
    spec: Spec,
    noise: Positive = 0.1,
    weight: Weight = 1000.0,
    kernel: str = "rbf",
    bandwidth: Positive = 1.0,
    likelihood: Likelihood = "normal",
    **options: Any,
) -> Recipe:
    """E_q[log p(x | z)] - lambda MMD(q(z), p(z)), q(z | x) = N(f(x), v / (1 + v) I): a bounded information rate.

    f(x) is sent over a channel whose noise has v times the variance of what is sent. Where q(z) is p(z) = N(0, I), I(x;
    z) <= d/2 log(1 + 1/v) nats for d dimensions, whatever x is. `noise`: v. `weight`: lambda. `kernel`: "rbf" or "imq".
    `bandwidth`: the kernel's, in units of z. `likelihood`: as of `wae`. The loss chooses the best epoch.

    Braithwaite, Kleijn: Bounded Information Rate Variational Autoencoders, 2018.
    """
    channel = FixedNormal(noise / (1 + noise))
    return wae(spec, weight, kernel, bandwidth, channel, likelihood, **options)


@recipe
def rae(
    spec: Spec,
    penalty: Penalty = "l2",
    weight: Weight = 0.1,
    size: Weight = 0.01,
    likelihood: Likelihood = "normal",
    **options: Any,
) -> Recipe:
    """log p(x | z) - beta |z|^2 / 2 - lambda R, z a point and R what keeps the decoder smooth: the regularised one.

    Samples want a prior that is fitted afterwards: nothing here holds the codes to one. `penalty`: R, "l2", the decay
    of the decoder's weights; "gradient", half the squared norm of its Jacobian at the codes; "spectral", every layer of
    the decoder divided by its largest singular value. `weight`: lambda, of l2 and gradient. `size`: beta, of the codes.
    `likelihood`: "normal", the squared error, and of columns of kinds that it is no law of each kind's own.

    Ghosh, Sajjadi, Vergari, Black, Schoelkopf: From Variational to Deterministic Autoencoders, 2020.
    """
    terms = {"reconstruction": Reconstruction(), "size": Weighted(CodeSize(), size)}
    more = {"steepness": Weighted(Steepness(), weight)} if penalty == "gradient" else {}
    made = vae(
        spec, posterior="point", likelihood=_cost(likelihood, spec), objective=Objective({**terms, **more}), **options
    )
    find(SMOOTH, penalty, "penalty")(made.model.heads["x"], weight)
    return made


def _cost(likelihood: Likelihood, spec: Spec) -> Likelihood | None:
    """None, which is each kind's own, in the place of a "normal" that is no law of the columns."""
    return None if likelihood == "normal" and spec.columns and not is_law("normal", spec) else likelihood


def _decayed(decoder: nn.Module, weight: float) -> None:
    decoder.optimizer = Group(weight_decay=weight)  # pyright: ignore[reportArgumentType]


def _spectral(decoder: nn.Module, weight: float) -> None:
    for layer in [each for each in decoder.modules() if isinstance(each, (nn.Linear, _ConvNd))]:
        spectral_norm(layer)


SMOOTH: dict[str, Callable[[nn.Module, float], None]] = {
    "l2": _decayed,
    "gradient": lambda decoder, weight: None,  # by a term
    "spectral": _spectral,
}
