"""Options given whole and laid flat: the same call, the same weights, and what run folders recorded before."""

from __future__ import annotations

import inspect
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import polyvae as pv
from helpers.observing import SHAPE
from helpers.runs import pictures, same, weights
from polyvae.recipes import RECIPES, Codes, Gaussian, Mask, SoftAdapt, Tasks, rebuild, recipe
from polyvae.recipes.catalogue import current

FOLDER = Path(__file__).parent / "recorded"  # written before options were dataclasses
CALLS: list[dict[str, Any]] = json.loads((FOLDER / "calls.json").read_text())


@pytest.mark.parametrize("held", CALLS, ids=lambda held: held["call"]["name"])
def test_calls_recorded_before_give_the_same_weights(held: dict[str, Any]) -> None:
    made = rebuild(held["call"])
    parts = {"model": made.model, "objective": made.objective}
    found = {f"{name}.{n}": each for name, part in parts.items() for n, each in part.state_dict().items()}
    # The mean of pictures is taken off since, and the means of a mixture begin at N(0, 4 / d I), not at N(0, I).
    found = {name: each for name, each in found.items() if ".layers." not in name or not name.endswith(".mean")}
    found |= {n: each * (each.shape[1] ** 0.5 / 2) for n, each in found.items() if n.endswith("prior.z.loc")}
    assert made.call == held["call"]
    assert made.monitor == held["monitor"]
    assert len(found) == held["tensors"]
    total = sum(float(found[name].double().sum()) * (1 + place % 7) for place, name in enumerate(sorted(found)))
    assert total == pytest.approx(held["sum"], abs=1e-3)


def test_a_run_folder_written_before_is_loaded_and_scores_as_it_did(tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER / "run", tmp_path / "run")
    run, data = pv.Run.load(folder), pictures(side=8)
    assert run.recipe.call is not None
    assert run.recipe.call["options"]["softadapt_window"] == 3
    found = pv.evaluate(run.recipe, data.validation, samples=2)
    assert found["bound"] == pytest.approx(run.history[-1]["validation_bound"], rel=0.02)


def test_a_call_recorded_with_options_of_what_is_off_is_built_without_them() -> None:
    made = pv.recipes.multitask(SHAPE, widths=(4,), seed=1)
    assert made.call is not None
    held = {**made.call, "options": {**made.call["options"], "softadapt_window": 3}}
    found = rebuild(held)
    assert repr(found.objective) == repr(made.objective)
    assert same(weights(found), weights(made))


SMALL = {"widths": (4, 6)}
THREE = Gaussian(3)
WRITTEN: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("vae", {"latent": Gaussian(3, prior="vamp", components=4)}, {"latent": 3, "prior": "vamp", "components": 4}),
    (
        "cvae",
        {"latent": Gaussian(3, "mlp", prior="conditional")},
        {"latent": 3, "network": "mlp", "prior": "conditional"},
    ),
    ("vamp_prior", {"latent": Gaussian(3), "components": 4}, {"latent": 3, "components": 4}),
    ("count_vae", {"latent": Gaussian(3, widths=(4,))}, {"latent": 3, "widths": (4,)}),
    ("vq_vae", {"latent": Codes(8, dim=3)}, {"codes": 8, "dim": 3}),
    ("semi_conditional", {"mask": Mask("gaussian", 7)}, {"mask": "gaussian", "count": 7}),
    ("multitask", {"latent": Codes(8, 3, (4, 6))}, {"codes": 8, "dim": 3, "widths": (4, 6)}),
    (
        "multitask",
        {"tasks": Tasks(w2=0.5, softadapt=SoftAdapt(beta=0.5)), "mask": Mask("grid", 9)},
        {"w2": 0.5, "softadapt": True, "softadapt_beta": 0.5, "mask": "grid", "count": 9},
    ),
    ("vq_multitask", {"latent": Codes(8), "tasks": Tasks(1)}, {"codes": 8, "decoders": 1}),
]


@pytest.mark.parametrize(("name", "whole", "flat"), WRITTEN)
def test_options_whole_and_flat_are_one_call(name: str, whole: dict[str, Any], flat: dict[str, Any]) -> None:
    spec = pv.Spec((6,), levels=None) if name == "count_vae" else pv.Spec(SHAPE, classes=3)
    one, other = (RECIPES[name](spec, seed=1, **given) for given in (whole, flat))
    assert one.call == other.call
    assert one.call is not None
    assert one.observe == other.observe
    assert repr(one.objective) == repr(other.objective)
    assert same(weights(one), weights(other))
    assert same(weights(rebuild(one.call)), weights(one))


@pytest.mark.parametrize("name", ["multitask", "semi_conditional"])
def test_the_names_with_vq_are_others_with_codes(name: str) -> None:
    given = {"mask": Mask(count=9), "likelihood": "normal", "decoder": "multiscale", "seed": 3}
    latent = Codes(8, 3, (4, 6), codebook="ema")
    one, other = (RECIPES[each](SHAPE, latent=latent, **given) for each in (name, f"vq_{name}"))
    assert same(weights(one), weights(other))
    assert repr(one.objective) == repr(other.objective)
    assert one.call is not None
    assert other.call == {**one.call, "name": f"vq_{name}"}


def test_options_may_stand_by_place() -> None:
    one, other = pv.recipes.multitask(SHAPE, Codes(8), seed=1), pv.recipes.multitask(SHAPE, codes=8, seed=1)
    assert one.call == other.call
    assert same(weights(one), weights(other))
    with pytest.raises(TypeError):
        pv.recipes.ppca(SHAPE, 3, 4)


GIVEN: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("ae", {"latent": Gaussian(3, posterior="diagonal")}, {"latent": 3, "posterior": "diagonal"}),
    ("vamp_prior", {"latent": Gaussian(3, "mlp", components=10)}, {"latent": 3, "network": "mlp", "components": 10}),
    ("count_vae", {"latent": Gaussian(16, "mlp", widths=None)}, {"latent": 16, "network": "mlp", "widths": None}),
    (
        "multitask",
        {"softadapt": SoftAdapt("normalised", 0.5, 3)},
        {"softadapt": True, "softadapt_variant": "normalised"} | {"softadapt_beta": 0.5, "softadapt_window": 3},
    ),
    ("multitask", {"tasks": Tasks(softadapt=None)}, {"softadapt": False}),
    ("count_vae", {"latent": Gaussian(posterior="full")}, {"posterior": "full"}),
]


@pytest.mark.parametrize(("name", "whole", "flat"), GIVEN)
def test_a_field_that_is_given_counts_though_it_is_the_default(
    name: str, whole: dict[str, Any], flat: dict[str, Any]
) -> None:
    spec = pv.Spec((6,), levels=None) if name == "count_vae" else pv.Spec(SHAPE)
    one, other = (RECIPES[name](spec, seed=1, **given) for given in (whole, flat))
    assert one.call == other.call
    assert one.call is not None
    assert repr(one.model) == repr(other.model)
    assert repr(one.objective) == repr(other.objective)


def test_a_field_that_is_not_given_is_the_recipes() -> None:
    made = pv.recipes.count_vae((6,), latent=Gaussian(3))
    layers = [module for module in made.model.posterior["z"].modules() if isinstance(module, nn.Linear)]
    assert [layer.out_features for layer in layers] == [128, 6]


POINTS = np.array([1, 2, 5, 7])
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("multitask", {"latent": 3, "codes": 8}, "latent and codes exclude each other: latent is Gaussian or Codes"),
    ("multitask", {"mask": Mask("grid", 9), "count": 9}, "count is given twice"),
    ("vae", {"latnt": 3}, "latnt is no option of vae; did you mean latent"),
    ("ppca", {"prior": "vamp"}, "prior is no option of ppca; its options are latent"),
    ("full_covariance", {"posterior": "diagonal"}, "posterior is no option of full_covariance"),
    ("full_covariance", {"latent": Gaussian(3, posterior="point")}, "posterior is no option of full_covariance"),
    ("vq_vae", {"latent": Codes(1)}, "codes is a whole number of at least 2; got 1"),
    ("vae", {"latent": Gaussian(0)}, "latent is a whole number of at least 1; got 0"),
    ("multitask", {"tasks": Tasks(3)}, "decoders is a whole number from 1 to 2; got 3"),
    (
        "multitask",
        {"tasks": Tasks(softadapt=SoftAdapt(window=9, mode="backward"))},
        "softadapt_window counts the steps",
    ),
    ("arbitrary_conditioning", {"codes": 8}, "codes is no option of arbitrary_conditioning"),
    ("vamp_prior", {"latent": Gaussian(prior="standard")}, "prior is no option of vamp_prior"),
    ("multitask", {"beta": 4.0}, "beta is an option of Codes; give codes too"),
    ("semi_conditional", {"dim": 8}, "dim is an option of Codes; give codes too"),
    ("multitask", {"softadapt": "no"}, "softadapt is True, False or a SoftAdapt; got 'no'"),
    ("multitask", {"softadapt_variant": "normalised"}, "softadapt_variant is an option of SoftAdapt; give softadapt"),
    ("vq_multitask", {"softadapt": False, "softadapt_beta": 0.5}, "softadapt_beta is an option of SoftAdapt; give"),
    ("vae", {"latent": Codes()}, r"latent is a number or Gaussian\(...\); got Codes\(...\); vq_vae takes Codes"),
    ("vae", {"latent": Gaussian}, r"latent is a number or Gaussian\(...\); got <class"),
    ("vae", {"latent": {"dimensions": 8}}, r"latent is a number or Gaussian\(...\); got {'dim"),
    ("vae", {"latent": None}, r"latent is a number or Gaussian\(...\); got None"),
    ("vae", {"latent": np.array([8, 8])}, r"latent is a whole number of at least 1; got \[8, 8\]"),
    ("arbitrary_conditioning", {"latent": Codes()}, "got Codes.*; vq_vae takes Codes"),
    ("vq_vae", {"codes": Codes(64)}, "codes is a whole number of at least 2; got Codes"),
    ("vq_vae", {"latent": Gaussian(8)}, r"latent is Codes\(...\); got Gaussian\(...\)"),
    ("pca", {"latent": Gaussian(4)}, "latent is a whole number of at least 1; got Gaussian"),
    ("two_level", {"top": None}, "top is a whole number of at least 1; got None"),
    ("multitask", {"tasks": 2}, r"tasks is Tasks\(...\); got 2"),
    ("multitask", {"tasks": SoftAdapt()}, r"tasks is Tasks\(...\); got SoftAdapt"),
    ("multitask", {"mask": Mask("unifrom")}, "mask is one of uniform, .*; did you mean uniform"),  # pyright: ignore
    ("multitask", {"mask": None}, r"mask is a name or Mask\(...\); got None"),
    ("multitask", {"mask": pv.masks.observation("grid", 9)}, r"mask is a name or Mask\(...\); got SparsePixels"),
    ("vae", {"latent": Gaussian(network="mlp"), "network": "mlp"}, "network is given twice, in Gaussian and by itself"),
    ("multitask", {"latent": Codes(64), "codes": 32}, "codes is given twice, in Codes and by itself"),
    ("multitask", {"tasks": Tasks(softadapt=SoftAdapt()), "softadapt": False}, "softadapt is given twice, in Tasks"),
    ("full_covariance", {"posterior": "full"}, "posterior is no option of full_covariance: the recipe chooses it"),
    ("vq_multitask", {"network": "mlp"}, "network is no option of vq_multitask: the recipe chooses it itself"),
    ("vae", {"codes": 8}, "codes is no option of vae; vq_vae has it"),
    ("vae", {"likelihood": pv.families.Bernoulli}, r"likelihood is a name or a family; got .*: give Bernoulli\(...\)"),
    ("vae", {"posterior": pv.families.DiagonalNormal}, "posterior is a name or a family; got <class"),
    ("vae", {"posterior": nn.Linear(3, 4)}, "posterior is a name or a family; got Linear"),
    ("vae", {"condition": "no"}, "condition: these data have no value 'no' beside x"),
    ("vq_vae", {"kmeans": 1}, "kmeans is True or False; got 1"),
]


@pytest.mark.parametrize(("name", "options", "message"), REFUSED)
def test_what_is_refused_is_named_as_it_is_laid_flat(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RECIPES[name](SHAPE, **options)


def test_numbers_of_numpy_and_torch_are_recorded_as_numbers() -> None:
    given = {"latent": np.int64(3), "beta": np.float32(2), "free_bits": torch.tensor(0.5), "condition": np.True_}
    made = pv.recipes.beta_vae(pv.Spec(SHAPE, classes=3), widths=np.array([4, 6]), **given)
    options = {"latent": 3, "beta": 2.0, "free_bits": 0.5, "condition": True, "widths": [4, 6]}
    assert made.call is not None
    assert made.call["options"] == options
    at = pv.recipes.semi_conditional(SHAPE, latent=Gaussian(3, widths=(np.int8(4), 6)), mask="points", positions=POINTS)
    assert at.call is not None
    assert at.call["options"]["widths"] == [4, 6]
    assert at.call["options"]["positions"] == [1, 2, 5, 7]


def test_half_a_picture_is_a_mask_by_name() -> None:
    made = pv.recipes.semi_conditional(SHAPE, mask="half", widths=(4,), seed=1)
    assert made.observe == pv.masks.observation("half")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_at_most_eight_parameters_and_explains_each_option(name: str) -> None:
    build = RECIPES[name]
    assert len(inspect.signature(inspect.unwrap(build), follow_wrapped=False).parameters) <= 8
    _, *options = inspect.signature(build).parameters
    assert not [option for option in options if f"`{option}`" not in (build.__doc__ or "")]


def test_a_recipe_of_ones_own_has_one_dataclass_of_a_kind() -> None:
    def two(spec: Any, upper: Gaussian = THREE, lower: Gaussian = THREE) -> pv.Recipe:
        raise AssertionError

    with pytest.raises(ValueError, match=r"\['components', 'latent', .*\] of lower are options already"):
        recipe(two)
    assert "two" not in RECIPES


def test_a_recipe_of_ones_own_may_be_typed_where_no_source_is() -> None:
    names: dict[str, Any] = {"pv": pv}
    exec("def typed(spec, twice=2, **options):\n    return pv.recipes.vae(spec, latent=2 * twice, **options)", names)
    try:
        made = recipe(names["typed"])(SHAPE, network="mlp", widths=(4,))
        assert made.call is not None
        assert made.call["options"] == {"network": "mlp", "widths": [4]}
    finally:
        RECIPES.pop("typed", None)


def test_a_dataclass_that_is_handed_on_or_replaced_leaves_the_choice_where_it_was() -> None:
    def handing(spec: Any, latent: Gaussian = THREE) -> pv.Recipe:
        return pv.recipes.ae(spec, latent=latent)

    try:
        made = recipe(handing)
        for options in ({}, {"latent": 4}, {"latent": Gaussian(4)}, {"latent": replace(Gaussian(), dimensions=4)}):
            assert made(SHAPE, **options).monitor == "reconstruction", options
        assert made(SHAPE, latent=Gaussian(4, posterior="diagonal")).monitor == "loss"
    finally:
        RECIPES.pop("handing", None)
    assert pv.recipes.full_covariance(SHAPE, latent=replace(Gaussian(), dimensions=4)).model.prior["z"].loc.shape == (
        4,
    )


OLD: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("multitask", {"softadapt_window": 3, "latent": 3}, {"latent": 3}),
    ("semi_conditional", {"dim": 4, "widths": [4, 4]}, {"codes": 128, "dim": 4, "widths": [4, 4]}),
    ("vae", {"widths": [4, 4]}, {"widths": [4, 4]}),
]


@pytest.mark.parametrize(("name", "recorded", "now"), OLD)
def test_calls_recorded_before_some_were_refused_are_those_that_would_be_recorded_now(
    name: str, recorded: dict[str, Any], now: dict[str, Any]
) -> None:
    call = {"name": name, "spec": {"x": list(SHAPE), "levels": 256}, "options": recorded}
    assert current(call)["options"] == now
    made = rebuild(call)
    assert made.call is not None
    assert made.call["options"] == now
