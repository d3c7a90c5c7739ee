"""Every quantiser of `Codes`: the contract, the axes it combines with, resume, processes, and the learned prior."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import polyvae as pv
from helpers.contract import PICTURES, check_draws, check_recipe, examples
from helpers.quantisers import QUANTISERS, SIZES, STACKED, options
from helpers.runs import same, timeless, weights
from helpers.striped import FIT, recipe, stripes
from polyvae.objectives.code_terms import EntropyPenalty
from polyvae.objectives.terms import KL, CodebookCost, Commitment, Reconstruction
from polyvae.recipes import RECIPES
from polyvae.recipes.latents import latent_part
from polyvae.recipes.options import Codes
from polyvae.training.second_stage import code_data, train_prior, with_prior

TERMS = {
    "nearest": {"codebook", "commitment"},
    "residual": {"codebook", "commitment"},
    "grouped": {"codebook", "commitment"},
    "finite-scalar": {"kl"},
    "lookup-free": {"commitment", "entropy"},
    "gumbel": {"kl"},
}
BOUND = pv.Objective({"reconstruction": Reconstruction(), "kl": pv.Weighted(KL(), 2.0)})
COSTS = pv.Objective({"r": Reconstruction(), "a": CodebookCost(), "b": Commitment()})
BITS = pv.Objective({"r": Reconstruction(), "b": Commitment(), "c": EntropyPenalty()})
OBJECTIVES = {"bound": BOUND, "weighted": pv.ImportanceWeighted(2), "codes": COSTS, "bits": BITS}
REFUSED = {  # objectives, by quantiser
    "nearest": ["bound", "weighted", "bits"],
    "residual": ["bound", "weighted", "bits"],
    "grouped": ["bound", "weighted", "bits"],
    "finite-scalar": ["codes", "bits"],
    "lookup-free": ["bound", "weighted", "codes"],
    "gumbel": ["weighted", "codes", "bits"],
}


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_every_quantiser_keeps_the_contract_of_recipes(quantiser: str, tmp_path: Path) -> None:
    given = {name: value for name, value in options(quantiser).items() if name != "seed"}
    if quantiser == "finite-scalar":  # with few levels the first codes are all zero, which move no weight
        given["levels"] = (14, 15)
    check_recipe("vq_vae", tmp_path, **given)


@pytest.mark.parametrize("name", ["vq_vae", "vq_semi_conditional", "vq_multitask"])
@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_every_quantiser_trains_on_pictures_and_tables_with_labels(quantiser: str, name: str) -> None:
    for spec in (PICTURES, pv.Spec((5,), classes=2, levels=None)):
        made = RECIPES[name](spec, condition=True, **options(quantiser))
        assert set(made.objective.terms) >= TERMS[quantiser]
        values = made.objective(made.model, made.observe(examples(spec)))
        values["loss"].backward()
        found = {key: each.grad for key, each in made.model.named_parameters()}
        assert not [key for key, grad in found.items() if grad is None or not bool(grad.isfinite().all())]
        check_draws(made, spec)


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_every_objective_trains_all_of_it_or_is_refused_by_name(quantiser: str) -> None:
    for key, objective in OBJECTIVES.items():
        given = options(quantiser, objective=objective)
        if key in REFUSED[quantiser]:
            with pytest.raises(ValueError, match="objective: "):
                pv.recipes.vq_vae(PICTURES, **given)
            continue
        made = pv.recipes.vq_vae(PICTURES, **given)
        made.objective(made.model, made.observe(examples(PICTURES)))["loss"].backward()
        assert not [name for name, each in made.model.named_parameters() if each.grad is None], key


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_codes_are_integers_that_decode_to_the_reconstruction(quantiser: str) -> None:
    made = pv.recipes.vq_vae((1, 8, 8), **options(quantiser))
    model, x = made.model.eval(), torch.rand(6, 1, 8, 8)
    codes = model.encode({"x": x})["z"].codes
    size, stacked = SIZES.get(quantiser, 6), (STACKED[quantiser],) if quantiser in STACKED else ()
    assert codes.dtype == torch.int64
    assert codes.shape == (6, *stacked, 2, 2)
    assert codes.min() >= 0
    assert codes.max() < size
    rebuilt = model.reconstruct({"x": x})["x"].mean
    torch.testing.assert_close(model.decode({"z": codes})["x"].mean, rebuilt)
    run = pv.Run(made, None, [], {})
    assert torch.equal(torch.as_tensor(run.encode(x)), codes)
    uniform = codes[0].numel() * math.log(size)
    kl = model({"x": x}).kl
    if quantiser == "gumbel":
        assert (kl < uniform).all()
    else:
        torch.testing.assert_close(kl, torch.full_like(kl, uniform))


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_the_networks_start_alike_and_the_prior_shares_the_words(quantiser: str) -> None:
    parts = [latent_part(Codes(dim=4, count=16), pv.Spec((1, 8, 8)), {})]
    torch.manual_seed(0)
    made = pv.recipes.vq_vae((1, 8, 8), **options(quantiser))
    assert made.model.prior["z"].codebook is made.model.posterior["z"].codebook
    assert (made.start is not None) == (quantiser in ("nearest", "residual", "grouped"))
    first = next(iter(made.model.posterior["z"].net.parameters()))
    plain = pv.recipes.vq_vae((1, 8, 8), **options("nearest"))
    assert torch.equal(first, next(iter(plain.model.posterior["z"].net.parameters())))
    assert parts[0].shape == (4, 2, 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"levels": (3, 3)}, "levels is not read by quantiser 'nearest', which reads codes, dim, codebook, beta"),
        ({"quantiser": "finite-scalar", "codes": 64}, "codes is not read by quantiser 'finite-scalar'"),
        ({"quantiser": "gumbel", "rotation": True}, "rotation is not read by quantiser 'gumbel'"),
        ({"quantiser": "lookup-free", "codes": 100}, "codes: quantiser 'lookup-free' has 2, 4, 8 ..., .*; got 100"),
        ({"quantiser": "grouped", "dim": 7}, "depth: 2 groups do not share 7 channels evenly; change dim"),
        ({"quantiser": "finite-scalar", "levels": (2, 5)}, "levels is a whole number of at least 3; got 2"),
        ({"quantiser": "gumbel", "temperature": 0.0}, "temperature is a positive number; got 0"),
        ({"quantiser": "vector"}, "quantiser is one of nearest, residual, grouped, finite-scalar, lookup-free, gumbel"),
    ],
)
def test_sizes_that_make_no_codes_are_refused_by_name(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pv.recipes.vq_vae((1, 8, 8), **given)


@pytest.mark.parametrize("quantiser", ["residual", "grouped"])
def test_one_codebook_trains_to_the_run_of_the_nearest_word(quantiser: str) -> None:
    found = []
    for more in ({}, {"quantiser": quantiser, "depth": 1}):
        run = pv.fit(recipe(**more), stripes(), **FIT)
        found.append((timeless(run.history), [*run.model.state_dict().values()]))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(a, b) for a, b in zip(found[0][1], found[1][1], strict=True))


@pytest.mark.parametrize("quantiser", ["residual", "finite-scalar", "gumbel"])
def test_a_run_stopped_and_resumed_is_the_same_run(quantiser: str, tmp_path: Path) -> None:
    given = {**FIT, "epochs": 3}

    def made() -> pv.Recipe:
        return pv.recipes.vq_vae((1, 8, 8), likelihood="normal", **options(quantiser))

    whole = pv.fit(made(), stripes(), tmp_path / "whole", **given)
    pv.fit(made(), stripes(), tmp_path / "part", **given, max_steps=7)  # 5 steps an epoch
    again = pv.fit(made(), stripes(), tmp_path / "part", **given, resume=True)
    assert same(weights(again.recipe), weights(whole.recipe))
    assert timeless(again.history) == timeless(whole.history)
    if quantiser == "gumbel":
        assert again.history[-1]["train_temperature"] == pytest.approx(0.5)
        assert again.model.posterior["z"].codebook.steps == 15


@pytest.mark.parametrize("quantiser", [name for name in QUANTISERS if name != "nearest"])
def test_a_prior_learns_the_codes_and_is_drawn_from(quantiser: str, tmp_path: Path) -> None:
    data = stripes(labels=True)
    made = pv.recipes.vq_vae(data.spec, likelihood="normal-learned", **options(quantiser))
    run = pv.fit(made, data, tmp_path, **{**FIT, "epochs": 40 if quantiser == "gumbel" else 4})
    codes = code_data(run, data)
    stacked, size = STACKED.get(quantiser, 1), SIZES.get(quantiser, 6)
    assert codes.spec.x == (1, 2, 2 * stacked)  # the integers of a place stand one after the other
    assert codes.spec.levels == size
    q = run.model.eval().encode({"x": data.train.tensors["x"][:3]})["z"]
    if quantiser != "gumbel":  # whose codes are drawn
        expected = q.codes.movedim(1, -1).flatten(2) if stacked > 1 else q.codes
        assert torch.equal(codes.train.tensors["x"][:3, 0].long(), expected)
    sizes = {"channels": 16, "layers": 2, "first_kernel_size": 3, "device": "cpu", "progress": False}
    prior = train_prior(run, data, epochs=12, batch_size=20, lr=1e-2, **sizes)
    learned = with_prior(pv.Run.load(tmp_path))
    found = pv.evaluate(learned, data.validation, samples=20)
    uniform = pv.evaluate(run, data.validation, samples=20)
    assert found["kl"] < uniform["kl"] + (0.3 if quantiser == "gumbel" else 0)
    assert found["latents"]["z"]["kl_source"] == ("sampled" if quantiser == "gumbel" else "analytic")
    if quantiser != "gumbel":
        assert found["kl"] == pytest.approx(-prior.history[-1]["validation_bound"], rel=0.2)
    assert learned.model.generate(count=5)["x"].mean.shape == (5, 1, 8, 8)
    drawn = learned.model.sample_latents(count=4)["z"]
    assert drawn.shape == (4, *q.event_shape)


BARS = {  # squared error of test digits, a quarter above what it was when it was first measured
    "nearest": 0.036,
    "residual": 0.020,
    "grouped": 0.026,
    "finite-scalar": 0.036,
    "lookup-free": 0.044,
    "gumbel": 0.065,
}


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_ten_epochs_of_digits_keep_the_words_in_use(quantiser: str) -> None:
    data = pv.data.load("digits")
    sizes: dict[str, Any] = {"finite-scalar": {}, "gumbel": {"codes": 64, "anneal": 200}}
    more = sizes.get(quantiser, {"codes": 64})
    made = pv.recipes.vq_vae(
        data.spec, quantiser=quantiser, widths=(16, 32), likelihood="normal-learned", seed=0, **more
    )
    run = pv.fit(made, data, epochs=10, batch_size=64, lr=3e-3, progress=False, device="cpu")
    report = pv.evaluate(run, data.test, samples=5)
    assert report["mse"] < BARS[quantiser]
    least = 0.25 if quantiser == "gumbel" else 0.7  # where a code costs what it says, fewer are worth their nats
    assert report["latents"]["z"]["codebook"]["usage"] > least
