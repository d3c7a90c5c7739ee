"""Every recipe with every choice along the axes: it trains, or is refused by the name of the option."""

from __future__ import annotations

import inspect
from typing import Any, get_args

import pytest
import torch

import polyvae as pv
from helpers.contract import PICTURES, SEVERAL, examples, spec_for
from polyvae.model.families.real import PixelNormal
from polyvae.objectives.terms import KL, CodebookCost, Commitment, Reconstruction
from polyvae.recipes import RECIPES
from polyvae.recipes.options import CHOICES, Quantisation
from polyvae.training.sharing import tell_examples

COUNTS = [name for name in CHOICES["likelihood"] if "poisson" in name or "binomial" in name]
DEPENDENT = ["normal-optimal", "structured", "low-rank", "coupled-logistic-mixture"]  # whose values are not independent
OBJECTIVES = {
    "bound": pv.Objective({"reconstruction": Reconstruction(), "kl": pv.Weighted(KL(), 2.0)}),
    "weighted": pv.ImportanceWeighted(2),
    "groups": pv.ImportanceWeighted(2, groups=2),
    "combined": pv.objectives.Combined(2),
    "partial": pv.objectives.PartiallyImportanceWeighted(2, 2),
    "doubly": pv.objectives.DoublyReparametrised(2),
    "landing": pv.objectives.StickingTheLanding(),
    "renyi": pv.objectives.Renyi(2),
    "thermodynamic": pv.objectives.Thermodynamic(3, 2),
    "codes": pv.Objective({"r": Reconstruction(), "a": CodebookCost(), "b": Commitment()}),
}
VALUES: dict[str, dict[Any, Any]] = {
    "condition": {True: True},
    "prior": {name: name for name in CHOICES["prior"]},
    "posterior": {name: name for name in CHOICES["posterior"]},
    "likelihood": {name: name for name in CHOICES["likelihood"]},
    "objective": OBJECTIVES,
    "quantiser": {name: name for name in get_args(Quantisation)},
}
LADDERS = ["ladder"]  # whose laws are those of its groups
VQ = ["vq_vae", "vq_vae_2", "vq_semi_conditional", "vq_multitask"]
CLUSTERS = ["vade", "gmvae"]  # whose prior is what they are
CLASSES = ["m2", *CLUSTERS]
CRITICS = ["factor_vae", "adversarial_autoencoder"]
GAMES = ["vae_gan", "cvae_gan", "zero_shot_vae_gan"]
POINTS = ["adversarial_autoencoder", "wae", "rae"]
ESTIMATES = [name for name, each in OBJECTIVES.items() if isinstance(each, pv.objectives.Bound)]
BOUNDS = ["iwae", "miwae", "ciwae", "piwae", "dreg", "sticking_the_landing", "renyi", "thermodynamic"]
PENALTIES = ["beta_vae", "capacity_vae", "mmd_vae", "dip_vae", "beta_tcvae"]
OWN = [
    "ae",
    "wae",
    "bir_vae",
    "rae",
    *CLASSES,
    *PENALTIES,
    *CRITICS,
    *GAMES,
    *BOUNDS,
]  # whose objective is what they are
CLOSED = ["pca", "ppca", "gaussian_process"]
PRIORS = [name for name in RECIPES if name.endswith("_prior")]
POSTERIORS = ["bir_vae", "full_covariance", "low_rank", "mixture_posterior", "iaf"]  # whose posterior is what they are
LEARNED = [
    "normal-learned",
    "normal-places",
    "laplace",
    "student-t",
    "negative-binomial",
    "zero-inflated-negative-binomial",
]  # likelihoods with something to learn beside the decoder
# What mathematics does not allow: by option, recipe -> the values that are refused.
REFUSED: dict[str, list[tuple[list[str], list[Any]]]] = {
    "quantiser": [
        ([name for name in RECIPES if name not in VQ], [*get_args(Quantisation)]),
        (VQ, ["finite-scalar", "lookup-free"]),  # beside five words, which make neither levels nor signs
    ],
    "condition": [(["cvae_gan", "zero_shot_vae_gan", *CLASSES, *CLOSED, *SEVERAL], [True])],
    "prior": [
        ([*VQ, *CLOSED, "pixel_cnn", *PRIORS, *LADDERS, *SEVERAL], [*CHOICES["prior"]]),
        (
            ["ae", "arbitrary_conditioning", "beta_tcvae", *POINTS, *CLUSTERS],
            [name for name in CHOICES["prior"] if name != "standard"],
        ),
        (["m2"], ["vamp", "exemplar"]),  # whose posterior reads features
        (["bir_vae"], ["mixture", "vamp", "autoregressive", "exemplar"]),  # whose draws have no gradient
    ],
    "posterior": [
        ([*VQ, *CLOSED, *LADDERS, "pixel_cnn", "rae", *POSTERIORS, *SEVERAL], [*CHOICES["posterior"]]),
        (["two_level", "arbitrary_conditioning", "incomplete", *PRIORS], ["point"]),
        ([*PENALTIES, "factor_vae", *GAMES, *CLASSES, *BOUNDS], ["point"]),
        (["beta_tcvae", "dip_vae"], ["iaf"]),
        (["dip_vae"], ["mixture"]),
    ],
    "likelihood": [
        ([*CLOSED, "pixel_cnn", "sigma_vae", "structured_residuals", "low_rank_residuals"], [*CHOICES["likelihood"]]),
        (["incomplete"], DEPENDENT),
        (["vae_gan"], LEARNED),
        (["m2"], ["normal-optimal"]),  # which classes that are summed over would share
        (["count_vae"], [name for name in CHOICES["likelihood"] if name not in COUNTS]),
    ],
    "objective": [
        ([*CLOSED, *OWN, "pixel_cnn", *SEVERAL], [*OBJECTIVES]),
        (VQ, ["bound", *ESTIMATES]),
        ([name for name in RECIPES if name not in VQ], ["codes"]),
        (["multitask"], ESTIMATES),
        (LADDERS, ["partial", "doubly"]),  # which want to know through which draws a posterior is moved
    ],
}
HELD = [(name, option) for option in VALUES for name in RECIPES]


def made_with(name: str, **options: Any) -> pv.Recipe:
    """A small recipe, whatever it takes of the sizes, with all of the options."""
    taken = inspect.signature(RECIPES[name]).parameters
    small = {"latent": 3, "network": "mlp", "widths": (6,), "components": 3, "channels": 4, "layers": 2, "codes": 5}
    if "latent" in taken:
        small.pop("codes")
    given = {key: value for key, value in small.items() if key in taken}
    if options.get("prior") == "conditional" and "condition" in taken:
        given["condition"] = True
    made = RECIPES[name](spec_for(name), seed=1, **given, **options)
    tell_examples(made.objective, 24)
    return made


@pytest.mark.parametrize(("name", "option"), HELD)
def test_every_choice_trains_or_is_refused_by_name(name: str, option: str) -> None:
    refused = [value for names, values in REFUSED[option] if name in names for value in values]
    for key, value in VALUES[option].items():
        if key in refused:
            with pytest.raises(ValueError, match=option):
                made_with(name, **{option: value})
            continue
        made = made_with(name, **{option: value})
        values = made.objective(made.model, made.observe(examples(spec_for(name))))
        assert values["loss"].isfinite(), key
        values["loss"].backward()
        untrained = [each for each, parameter in made.model.named_parameters() if parameter.grad is None]
        assert not untrained, (key, untrained)


@pytest.mark.parametrize(
    "name", ["vae", "beta_vae", "iwae", "full_covariance", "two_level", "semi_conditional", "multitask"]
)
@pytest.mark.parametrize("spec", [PICTURES, pv.Spec((5,), y=2, levels=None)])
def test_a_conditional_prior_alone_reads_labels_or_vectors(name: str, spec: pv.Spec) -> None:
    small = {"latent": 3, "network": "mlp", "widths": (6,), "likelihood": "normal", "seed": 1}
    made = RECIPES[name](spec, prior="conditional", **small)
    values = made.objective(made.model, made.observe(examples(spec)))
    values["loss"].backward()
    assert not [each for each, parameter in made.model.named_parameters() if parameter.grad is None]
    assert made.model.conditions == (("m", "y") if "m" in made.model.conditions else ("y",))
    with pytest.raises(ValueError, match="prior: a conditional one needs labels"):
        RECIPES[name](spec.x, prior="conditional", **small)


def test_two_levels_read_the_condition_and_mix_pseudo_inputs_on_top() -> None:
    made = made_with("two_level", condition=True, prior="vamp")
    model = made.model
    assert {name: q.given for name, q in model.posterior.items()} == {"z2": ("x", "y"), "z1": ("x", "z2", "y")}
    assert model.heads["x"].likelihood.given == ("z1", "z2", "y")
    assert model.prior["z2"].pseudo_inputs["x"].shape == (3, 1, 8, 8)


@pytest.mark.parametrize("decoder", ["flat", "multiscale"])
@pytest.mark.parametrize("name", ["semi_conditional", "multitask", "vq_multitask", "arbitrary_conditioning"])
@pytest.mark.parametrize("spec", [PICTURES, pv.Spec((5,), y=2, levels=None)])
def test_labels_are_read_beside_an_observation(name: str, decoder: str, spec: pv.Spec) -> None:
    sizes = {"codes": 5, "dim": 3} if name.startswith("vq") else {"latent": 3}
    made = RECIPES[name](spec, condition=True, decoder=decoder, widths=(4,), likelihood="normal", seed=1, **sizes)
    values = made.objective(made.model, made.observe(examples(spec)))
    values["loss"].backward()
    assert not [each for each, parameter in made.model.named_parameters() if parameter.grad is None]
    assert set(made.model.conditions) == {"m", "y"}
    assert all("y" in head.likelihood.given for head in made.model.heads.values())


def test_two_levels_have_a_posterior_s_family_each() -> None:
    family = PixelNormal("learned")
    made = pv.recipes.two_level((5,), latent=3, top=3, posterior=family, network="mlp", widths=(6,))
    z2, z1 = made.model.posterior.values()
    assert z1.family is family
    assert z2.family is not family
    assert isinstance(z2.family, PixelNormal)


def test_codes_of_a_conditioned_encoder_are_spread_over_its_labels() -> None:
    made = RECIPES["vq_vae"](PICTURES, codes=5, dim=3, widths=(4, 6), condition=True, seed=1)
    batch = made.observe(examples(PICTURES))
    assert made.start is not None
    made.start(batch)
    other = {**batch, "y": batch["y"].roll(1, 0)}
    model = made.model.eval()
    assert not model.posterior["z"](batch).encoded.equal(model.posterior["z"](other).encoded)
    z = {"z": model.encode(batch)["z"].codes}
    one, two = (model.decode({**z, "y": given["y"]})["x"].mean for given in (batch, other))
    assert not one.equal(two)


def test_a_point_is_trained_without_a_divergence() -> None:
    for name in ("vae", "semi_conditional", "multitask"):
        made = made_with(name, posterior="point")
        assert made.monitor == "reconstruction"
        assert "kl" not in made.objective.terms


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vae", {"prior": "mixture", "objective": pv.Objective({"reconstruction": pv.terms.Reconstruction()})}),
        ("semi_conditional", {"prior": "vamp", "objective": pv.Objective({"r": pv.terms.Reconstruction()})}),
        ("mmd_vae", {"alpha": 1.0, "prior": "mixture"}),
        ("mmd_vae", {"alpha": 1.0, "prior": "exemplar"}),
        ("wae", {"posterior": "diagonal", "prior": "exemplar"}),
        ("beta_vae", {"beta": 0.0, "prior": "vamp"}),
    ],
)
def test_a_prior_that_no_term_trains_is_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="prior: no term of the objective trains it; add the KL"):
        RECIPES[name](pv.Spec((1, 8, 8)), network="mlp", widths=(4,), **options)


@pytest.mark.parametrize(("prior", "condition"), [("flow", False), ("conditional", True)])
def test_a_prior_whose_draws_carry_a_gradient_learns_from_the_mmd(prior: str, condition: bool) -> None:
    options = {"network": "mlp", "widths": (4,), "latent": 2, "posterior": "diagonal"}
    made = pv.recipes.wae(pv.Spec((6,), classes=3), prior=prior, condition=condition, **options)
    values = made.observe({"x": torch.rand(8, 6), "y": torch.arange(8) % 3})
    made.objective(made.model, values)["loss"].backward()
    assert all(each.grad is not None and each.grad.any() for each in made.model.prior.parameters())


def test_a_term_of_your_own_counts_as_the_one_it_comes_from() -> None:
    class Divergence(pv.terms.KL):
        pass

    class Commitment(pv.terms.Commitment):
        pass

    class Reconstruction(pv.terms.Reconstruction):
        pass

    data = pv.Spec((6,))
    with pytest.raises(ValueError, match="a point has no divergence"):
        pv.recipes.vae(data, network="mlp", posterior="point", objective=pv.Objective({"kl": Divergence()}))
    with pytest.raises(ValueError, match="prior: no term of the objective trains it"):
        pv.recipes.vae(data, prior="mixture", objective=pv.Objective({"r": Reconstruction()}))
    own = {"r": Reconstruction(), "codebook": pv.terms.CodebookCost(), "commitment": Commitment()}
    made = pv.recipes.vq_vae(PICTURES, codes=5, dim=3, widths=(4, 6), objective=pv.Objective(own))
    assert made.objective.terms.keys() == own.keys()
