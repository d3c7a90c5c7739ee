"""VQ-VAE-2: maps of codes at several scales, each given those above; what it is where there is nothing above."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import polyvae as pv
from helpers.contract import check_draws, check_recipe, check_training, examples
from helpers.quantisers import options
from helpers.runs import same, timeless, weights
from helpers.striped import FIT, stripes
from polyvae.model.posteriors.codebook import Codebook
from polyvae.objectives.terms import KL, CodebookCost, Commitment, Reconstruction
from polyvae.recipes import Recipe

SMALL: dict[str, Any] = {"codes": 9, "dim": 3, "widths": (6,), "seed": 1}


def recipe(spec: Any = (1, 8, 8), **given: Any) -> Recipe:
    """Maps of 4 x 4 and 2 x 2 codes, or of 1 x 1 above these."""
    return pv.recipes.vq_vae_2(spec, **{"likelihood": "normal", **SMALL, **given})


def spread_words(made: Recipe) -> Recipe:
    """The words as far apart as the encoder's outputs are from each other."""
    torch.manual_seed(0)
    with torch.no_grad():
        for part in made.model.modules():
            if isinstance(part, Codebook):
                part.weight.normal_()
    return made


def gradients(made: Recipe, x: Tensor) -> dict[str, Tensor]:
    made.model.zero_grad()
    made.objective(made.model, {"x": x})["loss"].backward()
    return {name: each.grad for name, each in made.model.named_parameters() if each.grad is not None}


@pytest.mark.parametrize("given", [{}, {"blocks": 1, "widths": (4, 5)}, {"codebook": "ema"}, {"quantiser": "gumbel"}])
def test_one_scale_is_a_vq_vae_weight_for_weight_with_its_loss_and_gradients(given: Any) -> None:
    x = torch.rand(7, 1, 8, 8)
    one, plain = recipe(scales=1, **given), pv.recipes.vq_vae((1, 8, 8), likelihood="normal", **{**SMALL, **given})
    found = []
    for made in (one, plain):
        torch.manual_seed(0)
        if made.start is not None:
            made.start({"x": x})
        values = made.objective(made.model, {"x": x})
        grads = gradients(made, x)
        found.append((values["loss"], values["bound"], sorted(float(each.double().norm()) for each in grads.values())))
    torch.testing.assert_close(found[0][:2], found[1][:2], rtol=0, atol=0)
    assert found[0][2] == pytest.approx(found[1][2], rel=1e-5)
    assert sum(p.numel() for p in one.model.parameters()) == sum(p.numel() for p in plain.model.parameters())


def test_an_empty_top_leaves_the_vq_vae_of_the_bottom() -> None:
    """Where nothing reads the top, the loss is that of one map and of the top's own costs, and so are its gradients."""
    x = torch.rand(7, 1, 8, 8, dtype=torch.float64)
    both, one = spread_words(recipe()), recipe(scales=1)
    for made in (both, one):
        made.model.double()
    ours = {name.replace(".net.net.", ".net."): each for name, each in both.model.named_parameters()}
    with torch.no_grad():
        for name, held in one.model.named_parameters():
            ours[name].zero_()  # where it is wider it reads the top too
            (ours[name][:, : held.shape[1]] if held.ndim > 1 else ours[name]).copy_(held)
    values, alone = (made.objective(made.model, {"x": x}) for made in (both, one))
    of_top = [name for name in both.objective.terms if name.endswith("_top")]
    top = sum(values[name].item() * both.objective.terms[name].weight for name in of_top)
    assert values["loss"].item() == pytest.approx(alone["loss"].item() + top, rel=1e-12)
    for name in of_top:
        both.objective.terms[name].weight = 0.0
    mine = {name.replace(".net.net.", ".net."): each for name, each in gradients(both, x).items()}
    for name, gradient in gradients(one, x).items():
        found = mine[name]
        torch.testing.assert_close(found[:, : gradient.shape[1]] if found.ndim > 1 else found, gradient)


@pytest.mark.parametrize("quantiser", ["residual", "lookup-free", "gumbel"])
def test_every_quantiser_keeps_the_contract_at_every_scale(quantiser: str, tmp_path: Path) -> None:
    given = {name: value for name, value in options(quantiser).items() if name != "seed"}
    check_recipe("vq_vae_2", tmp_path, **{**given, "widths": [4], "scales": 3})


def test_rounded_codes_which_begin_at_zero_everywhere_are_used_at_both_scales() -> None:
    made = pv.recipes.vq_vae_2((1, 8, 8), quantiser="finite-scalar", levels=(3, 3), widths=(8,), seed=0)
    row = pv.fit(made, stripes(), **{**FIT, "epochs": 8}).history[-1]
    assert row["train_perplexity_top"] > 1.2
    assert row["train_perplexity_bottom"] > 1.2


@pytest.mark.parametrize("scales", [2, 3])
@pytest.mark.parametrize("shape", [(1, 7, 5), (3, 9, 2), (1, 1, 6)])
def test_odd_and_oblong_pictures_come_back_in_their_shape(shape: Any, scales: int) -> None:
    spec = pv.Spec(shape, classes=3)
    made = recipe(spec, scales=scales, condition=True)
    check_training(made, spec)
    check_draws(made, spec)
    codes = {name: q.codes for name, q in made.model.encode(made.observe(examples(spec))).items()}
    sides = [tuple(each.shape[1:]) for each in codes.values()]
    assert sides[::-1] == [tuple(-(-side // 2**step) for side in shape[1:]) for step in range(1, scales + 1)]


def test_terms_are_those_of_each_level_weighed_by_its_own_size() -> None:
    made, x = spread_words(recipe(scales=3, beta=0.5)), torch.rand(6, 1, 8, 8)
    with torch.no_grad():
        values = made.objective(made.model.eval(), {"x": x})
        laws = made.model.encode({"x": x})
    for name, places in (("top", 1), ("middle", 4), ("bottom", 16)):
        q, weight = laws[name], 64 / (3 * places)
        assert made.objective.terms[f"codebook_{name}"].weight == weight
        assert made.objective.terms[f"commitment_{name}"].weight == weight / 2
        gap = float((q.encoded - q.vectors).square().flatten(1).sum(1).mean())  # pyright: ignore
        assert float(values[f"codebook_{name}"]) == float(values[f"commitment_{name}"]) == pytest.approx(gap, rel=1e-5)
    own = pv.Objective({"r": Reconstruction(), "a": CodebookCost(), "b": Commitment(("top", "bottom"))})
    told = own(made.model, {"x": x})
    assert float(told["a"]) == pytest.approx(sum(float(values[f"codebook_{name}"]) for name in laws), rel=1e-5)
    both = float(values["commitment_top"] + values["commitment_bottom"])
    assert float(told["b"]) == pytest.approx(both, rel=1e-5)


def test_a_level_reads_what_stands_above_it_and_nothing_below() -> None:
    made, x = spread_words(recipe(scales=3)).model.eval(), torch.rand(4, 1, 8, 8)
    codes = {name: q.codes for name, q in made.encode({"x": x}).items()}
    for name in codes:
        moved = {**codes, name: (codes[name] + 1) % 9}
        assert (made.decode(moved)["x"].mean - made.decode(codes)["x"].mean).abs().amax((1, 2, 3)).min() > 0
    values = made.centres({"x": x})
    top, bottom = made.posterior["top"], made.posterior["bottom"]
    assert top.given == ("x_top",)  # pyright: ignore
    shown = made.featured({"x": x, **values}, bottom.given)  # pyright: ignore
    other = made.featured({"x": x, **values, "top": -values["top"]}, bottom.given)  # pyright: ignore
    assert torch.equal(shown["x_bottom"], other["x_bottom"])
    assert not torch.equal(shown["above_bottom"], other["above_bottom"])


def test_the_encoder_of_the_top_learns_from_the_reconstruction() -> None:
    made, x = spread_words(recipe()), torch.rand(6, 1, 8, 8)
    for name in [each for each in made.objective.terms if each != "reconstruction"]:
        made.objective.terms[name].weight = 0.0
    found = gradients(made, x)
    for part in ("features.x_top.net", "posterior.top.net", "posterior.bottom.net", "features.above_bottom.net"):
        assert any(bool(grad.any()) for name, grad in found.items() if name.startswith(part)), part


def test_codebooks_start_from_the_top_down_at_what_is_encoded_by_then() -> None:
    data = stripes(600)
    made, batch = recipe(scales=3, codes=4), data.train.batch(torch.arange(len(data.train)))
    assert made.start is not None
    training = [module.training for module in made.model.modules()]
    torch.manual_seed(0)
    made.start(batch)
    assert [module.training for module in made.model.modules()] == training
    with torch.no_grad():
        for name, q in made.model.eval().encode(batch).items():
            rows, codes = q.encoded.movedim(1, -1).flatten(0, -2), q.codes.flatten()  # pyright: ignore
            for code in codes.unique().tolist():
                word = made.model.posterior[name].codebook.weight[code]  # pyright: ignore
                torch.testing.assert_close(rows[codes == code].mean(0), word, rtol=1e-3, atol=1e-4)
            assert len(codes.unique()) > 1
    assert recipe(kmeans=False).start is None


def test_each_level_tells_of_its_codes_and_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    data = stripes()
    whole = pv.fit(recipe(codebook="ema", codes_above=5), data, tmp_path / "whole", **FIT)
    row = whole.history[-1]
    assert 1 <= row["train_perplexity_top"] <= 5
    assert 1 <= row["train_perplexity_bottom"] <= 9
    assert row["train_usage_top"] <= 1
    part = tmp_path / "part"
    pv.fit(recipe(codebook="ema", codes_above=5), data, part, **FIT, max_steps=3)
    again = pv.fit(recipe(codebook="ema", codes_above=5), data, part, resume=True, **FIT)
    assert same(weights(again.recipe), weights(whole.recipe))
    assert timeless(again.history) == timeless(whole.history)
    report = pv.evaluate(again, data.validation, samples=2)["latents"]
    assert [report[name]["codebook"]["size"] for name in ("top", "bottom")] == [5, 9]
    assert [report[name]["codebook"]["positions"] for name in ("top", "bottom")] == [4, 16]


def test_what_is_not_read_is_refused_by_name() -> None:
    for given, words in (
        ({"scales": 1, "codes_above": 4}, "codes_above: one scale has no map above"),
        ({"quantiser": "finite-scalar", "codes": 128, "dim": 16, "codes_above": 4}, "codes_above is not read by quant"),
        ({"scales": 4}, "scales is a whole number from 1 to 3; got 4"),
        (
            {"objective": pv.ImportanceWeighted(2)},
            "codes are trained by codebook_top and commitment_top and codebook_b",
        ),
        ({"quantiser": "gumbel", "objective": pv.ImportanceWeighted(2)}, "relaxed in training have no density"),
        ({"condition": True}, "condition needs labels or vectors y"),
    ):
        with pytest.raises(ValueError, match=words):
            recipe(**given)
    assert set(recipe(quantiser="gumbel", objective=None).objective.terms) == {"reconstruction", "kl"}
    assert isinstance(recipe(quantiser="gumbel").objective.terms["kl"].term, KL)
