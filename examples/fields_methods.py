"""The methods that complete a field from a few sensors: several without networks, and two autoencoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import fields_laws
from fields_linear import LinearCompletion, linear_completion
from fields_scores import HELD_OUT, Predictions, Trial, without_spread

import polyvae as pv
from polyvae.completion.complete import Completion
from polyvae.completion.gappy_pca import best_rank
from polyvae.data import Split
from polyvae.model.networks import sensing
from polyvae.objectives.objective import Objective, Weighted
from polyvae.objectives.terms import KL, Reconstruction
from polyvae.recipes import Recipe

VARIANCE = 0.5  # of the likelihood "normal"


@dataclass(frozen=True)
class Case:
    """How the autoencoders of a field are made and trained.

    `modes`: principal axes that a network's output is made of. `hidden`: its layers' widths, `leading`: coefficients
    that it reads. `passes`: over the training part in what is called an epoch here. `draws`: of z for a completion.
    `group`: principal coefficients that share the hyperparameters of a Gaussian process.
    """

    modes: int = 60
    hidden: tuple[int, ...] = (128, 128)
    leading: int = 8
    latent: int = 2
    steps: int = 800
    batch: int = 45
    lr: float = 4e-3
    passes: int = 10
    draws: int = 50
    group: int = 2


def gappy_pca(trial: Trial, case: Case) -> Predictions:
    """The rank is the best on the validation part as it is measured, up to twice the number of measured values."""
    field, mask = trial.field, trial.mask
    most = min(2 * len(trial.positions) * field.data.spec.x[0], field.basis.rank)
    chosen = best_rank(
        field.basis, trial.truth["validation"], mask, range(1, most + 1), observed=trial.observed["validation"]
    )
    return without_spread(trial, {part: chosen.complete(trial.observed[part], mask) for part in HELD_OUT})


def linear(trial: Trial, case: Case) -> Predictions:
    """The linear completion that the networks start from."""
    found = _linear(trial, case)
    return without_spread(trial, {part: found.complete(trial.observed[part]) for part in HELD_OUT})


def semi_conditional(trial: Trial, case: Case) -> Predictions:
    """p(z) p(x | z, m): whatever z holds beside m is drawn blindly in a completion.

    A field's many values are all nearly told by one number, the phase, so that z is used at almost any price, and m
    neglected. At a price of 10,000 a nat z says nothing, and the decoder reads all it can from m.
    """
    objective = Objective({"reconstruction": Reconstruction(), "kl": Weighted(KL(), 1e4)})
    recipe = pv.recipes.semi_conditional(trial.field.data.spec, **_options(trial, case), objective=objective)
    return without_spread(trial, {part: each.mean for part, each in _completed(trial, case, recipe).items()})


def arbitrary_conditioning(trial: Trial, case: Case) -> Predictions:
    """p(z | m) p(x | z, m), trained on the plain bound: m says where z may lie, and how surely."""
    recipe = pv.recipes.arbitrary_conditioning(trial.field.data.spec, **_options(trial, case))
    found = _completed(trial, case, recipe)
    return _with_spread(trial, {part: (each.mean, each.std.square() - VARIANCE) for part, each in found.items()})


METHODS: dict[str, Callable[[Trial, Case], Predictions | None]] = {
    "gappy PCA": gappy_pca,
    "linear": linear,
    "normal law": lambda trial, case: fields_laws.normal_law(trial),
    "kriging": lambda trial, case: fields_laws.kriging(trial),
    "Gaussian process": lambda trial, case: fields_laws.gaussian_process(trial, case.modes, case.group),
    "regression": lambda trial, case: fields_laws.regression(trial, case.modes),
    "SC-VAE": semi_conditional,
    "arbitrary conditioning": arbitrary_conditioning,
}


def _linear(trial: Trial, case: Case) -> LinearCompletion:
    field, width = trial.field, trial.field.fluid.shape[1]
    basis = field.basis.of_rank(min(case.modes, field.basis.rank))
    pixels = trial.positions[:, 0] * width + trial.positions[:, 1]
    return linear_completion(basis, field.x("train"), field.x("validation"), pixels, trial.noise)


def _options(trial: Trial, case: Case) -> dict:
    """Both recipes' options: latent, networks, likelihood and sensors.

    The likelihood's scale is fixed, so that the mean is that of least squared error: a learned one would follow the
    training errors, which fall far below those of other fields.
    """
    return {
        "latent": case.latent,
        "network": partial(sensing, hidden=case.hidden, leading=case.leading, modes=case.modes),
        "likelihood": "normal",
        "decoder": "flat",
        "mask": "points",
        "positions": trial.positions.flatten().tolist(),
        "noise": trial.noise,
        "seed": 0,
    }


def _completed(trial: Trial, case: Case, recipe: Recipe) -> dict[str, Completion]:
    """Trains a recipe and completes the held-out parts."""
    data = trial.field.data
    # Small as the set is, an epoch is several passes over it: less time goes into validation.
    data = replace(data, train=Split({"x": trial.field.x("train").repeat(case.passes, 1, 1, 1)}))
    steps = -(-len(data.train) // case.batch)
    run = pv.fit(
        recipe,
        data,
        epochs=max(1, round(case.steps / steps)),
        batch_size=case.batch,
        lr=case.lr,
        schedule="cosine",
        warmup=50,
        average=0.99,
    )
    return {
        part: pv.complete(run, trial.observed[part], trial.mask, draws=case.draws, quantiles=(), keep=0)
        for part in HELD_OUT
    }


def _with_spread(trial: Trial, found: Predictions) -> Predictions:
    """Means, and beside the variance between draws of z what that leaves of the validation errors, place by place."""
    mean, between = found["validation"]
    left = ((mean - trial.truth["validation"]).square() - between).mean(0, keepdim=True)
    spread = {part: between.clamp(min=0) + left.clamp(min=0) for part, (_, between) in found.items()}
    return {part: (mean, spread[part].clamp(min=1e-24).sqrt()) for part, (mean, _) in found.items()}
