"""The priors that are fitted to the vector of a trained run: each a function of that vector and its own numbers.

A recipe's model is one of draws x of the vector, [N, d]: of most the posterior and the likelihood copy x, so that its
bound is E_q[log p(z)]. `KINDS` names them for the command line, which reads what they take from this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from polyvae.checks.ranges import Count, Share, Weight, Widths
from polyvae.model.distributions.point import Point
from polyvae.model.draw import Draw
from polyvae.model.families.real import DiagonalNormal, FullNormal
from polyvae.model.parts import home
from polyvae.model.posteriors.exact import Copied, Frozen
from polyvae.model.priors.flow import FlowPrior
from polyvae.model.priors.matching import FlowMatching, Scaled, matching
from polyvae.model.priors.mixture import FullMixture, VampPrior, begun, unprepared
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Conditional, Values
from polyvae.objectives.objective import Objective
from polyvae.recipes import Recipe, m2, vae
from polyvae.recipes.options import Covariance, Flow, Gaussian
from polyvae.training.second_stage.latents import Vector
from polyvae.training.store import RunError

Solver = Literal["heun", "rk4"]
COUNTS = (1, 5, 10, 20, 40, 80)  # normals of a mixture that are tried
CHOOSING = 20_000  # draws that the choice among them is made with at most: it takes most of the time


def mixture(vector: Vector, components: Count | None = None) -> Recipe:
    """A mixture of normals with full covariances, by expectation maximisation on one draw of each training example.

    `components`: how many normals; where none is given, 1, 5, 10, 20, 40 or 80, a tenth of the draws at most, by the
    density of a tenth of them that is held out of that choice alone.

    Ghosh, Sajjadi, Vergari, Black, Schölkopf: From Variational to Deterministic Autoencoders, 2020 (their ex-post
    density estimation).
    """
    prior = FullMixture(vector.dimensions, components or 1)

    def solve(values: Values) -> dict[str, float]:
        z = values["x"]
        if len(z) < 2:
            raise ValueError(f"a mixture is fitted to two training examples at least; got {len(z)}")
        if components is not None and len(z) < components:
            raise ValueError(f"components: {components} normals need as many training examples; got {len(z)}")
        rows, state = z.double().cpu(), int(torch.randint(2**31 - 1, ()))  # of the run's seed
        count = _most_probable(rows, state) if components is None else components
        found = _maximised(rows, count, state)
        prior.set(*(torch.as_tensor(each) for each in (found.weights_, found.means_, found.covariances_)))
        return {"components": count}

    return Recipe(copied(prior), Objective(), solve=solve)


def vamp(vector: Vector, components: Count = 500) -> Recipe:
    """The mixture of the run's posteriors at pseudo-inputs, by gradient on E_q[log p(z)]; the encoder stays as it is.

    `components`: how many pseudo-inputs, which begin as training examples.

    Tomczak, Welling: VAE with a VampPrior, 2018.
    """
    posterior = vector.run.model.posterior[vector.alone("a VampPrior")]
    if not isinstance(posterior, Conditional) or not set(posterior.given) <= {"x", "y"}:
        raise RunError(
            "a VampPrior needs a posterior that is a network of one x, and of y at most; take another prior, such as "
            "mixture"
        )
    bare, layers = unprepared(posterior)
    start = begun(_examples(vector, posterior, components), components, layers)
    frozen = Frozen(bare)
    with torch.no_grad():
        if isinstance(frozen({name: value[:1] for name, value in start.items()}), Point):
            raise RunError("a VampPrior is a mixture of densities, and this run has a point for a posterior")
    return Recipe(copied(VampPrior(frozen, start)), Objective())


def flow(vector: Vector, flow: Flow = "nsf", transforms: Count = 3, widths: Widths = (128, 128)) -> Recipe:
    """A normalising flow, by gradient on E_q[log p(z)].

    `flow`: "nsf", a neural spline flow, or "maf", a masked autoregressive one. `transforms`: maps one after the other.
    `widths`: of the network of each.

    Durkan, Bekasov, Murray, Papamakarios: Neural Spline Flows, 2019.
    """
    prior = Scaled(FlowPrior(vector.dimensions, flow, transforms, widths), vector.dimensions)
    return Recipe(copied(prior), Objective(), start=lambda values: prior.scale_to(values["x"]))


def flow_matching(vector: Vector, steps: Count = 10, solver: Solver = "rk4", widths: Widths = (256, 256)) -> Recipe:
    """A rectified flow, its velocity learned by regression on draws; density and draws by an ordinary equation.

    `steps`: of the equation, in equal parts of the time. `solver`: "heun", two velocities a step, or "rk4", four.
    `widths`: of the velocity's network.

    Lipman, Chen, Ben-Hamu, Nickel, Le: Flow Matching for Generative Modeling, 2023; Liu, Gong, Liu: Flow Straight and
    Fast, 2023.
    """
    prior = Scaled(FlowMatching(vector.dimensions, steps, solver, tuple(widths)), vector.dimensions)
    return Recipe(copied(prior), Regression(), monitor="velocity", start=lambda values: prior.scale_to(values["x"]))


def two_stage(vector: Vector, top: Count | None = None, widths: Widths = (256, 256)) -> Recipe:
    """A second autoencoder, of z: p(z) is what p(u) = N(0, I) and p(z | u), with a learned variance, make together.

    `top`: dimensions of u; as many as z has where none is given. `widths`: of its perceptrons' layers.

    Dai, Wipf: Diagnosing and Enhancing VAE Models, 2019.
    """
    vector.alone("a second autoencoder")
    size = vector.dimensions if top is None else top
    spec = Spec((vector.dimensions,), levels=None)
    return vae(spec, latent=Gaussian(size, "mlp", tuple(widths)), likelihood="normal-learned")


def labelled(
    vector: Vector,
    top: Count = 2,
    covariance: Covariance = "full",
    widths: Widths = (256,),
    features: Count = 256,
    classified: Weight = 10.0,
    often: Share = 0.1,
) -> Recipe:
    """A second autoencoder, of z and the label y of a few examples: p(z) is what p(y), p(u) and p(z | y, u) make.

    With the run's own posterior before it this is the model M1+M2, whose q(y | z) classifies: see the recipe m2.

    `top`: dimensions of u. `covariance`: of z given y and u, "diagonal" or "full": codes of one class depend on each
    other, and where u has to say all of that it says the class as well. `widths`: of the layers of p(z | y, u) and, in
    front of `features`, of both posteriors. `classified`: what -log q(y | z) weighs where y is known. `often`: the
    share of an epoch that labelled examples make.

    Kingma, Rezende, Mohamed, Welling: Semi-supervised Learning with Deep Generative Models, 2014.
    """
    vector.alone("a second autoencoder")
    classes = None if vector.run.spec is None else vector.run.spec.classes
    if classes is None:
        raise RunError("labels are learned from data with some; those of this run have none")
    spec = Spec((vector.dimensions,), classes, levels=None)
    family = FullNormal() if covariance == "full" else DiagonalNormal()
    return m2(spec, classified, often, features, Gaussian(top, "mlp", tuple(widths)), family)


KINDS: dict[str, Callable[..., Recipe]] = {
    "mixture": mixture,
    "vamp": vamp,
    "flow": flow,
    "flow-matching": flow_matching,
    "two-stage": two_stage,
    "labelled": labelled,
}


class Regression(nn.Module):
    """The cost of a flow's velocity at draws of the latent, see `priors.matching`, averaged over the batch."""

    def forward(self, model: Callable[..., Draw], batch: Values, step: Any = 0) -> dict[str, Tensor]:
        latent = model(batch, 1).latents["z"]
        law: Any = latent.p
        cost = matching(law.base_dist, law.transforms[0].inv(latent.z.flatten(0, 1))).mean()
        return {"loss": cost, "velocity": cost.detach()}


def copied(prior: nn.Module) -> VAE:
    """The model whose bound is log p(z) at z = x."""
    return VAE(Copied("x"), prior, Copied("z"))


def _maximised(rows: Tensor, count: int, state: int) -> Any:
    """scikit-learn's mixture of so many normals, fitted to rows [N, d]."""
    from sklearn.mixture import GaussianMixture

    return GaussianMixture(count, max_iter=500, reg_covar=1e-5, random_state=state).fit(rows)


def _most_probable(rows: Tensor, state: int) -> int:
    """The number of normals whose mixture, fitted to nine tenths of at most so many rows, is the best of the others."""
    order = torch.randperm(len(rows))[:CHOOSING]
    held, rest = order.tensor_split([len(order) // 10])
    counts = [count for count in COUNTS if count == 1 or 10 * count <= len(rest)]
    if len(counts) == 1:
        return counts[0]
    return max(counts, key=lambda count: _maximised(rows[rest], count, state).score(rows[held]))


def _examples(vector: Vector, posterior: Conditional, count: int) -> Values:
    """So many examples at most, for pseudo-inputs to begin as; a zero of their shapes where the stored ones are about
    to be read."""
    if vector.seen is None:
        spec = vector.run.spec
        if spec is None:
            raise RunError("the run does not say what its data are, so that its VampPrior cannot be built again")
        shapes = {"x": spec.x} | ({} if spec.condition is None else {"y": spec.condition})
        return {name: torch.zeros(1, *shapes[name]) for name in posterior.given}
    values = vector.seen(count)
    return {name: values[name].to(home(posterior)) for name in posterior.given}
