"""What m says alone beside what z adds: both likelihoods, what trains them, and what completions make of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import polyvae as pv
from helpers.runs import pictures
from polyvae.completion.completer import Completer
from polyvae.completion.predictive import EVEN
from polyvae.completion.scores import score_completions
from polyvae.data.split import Split
from polyvae.model.networks.beside import Alone
from polyvae.model.networks.expected import Around
from polyvae.model.vae import Head
from polyvae.objectives.direct import Direct
from polyvae.observe.masks import observation, sparse
from polyvae.recipes import without_latents
from polyvae.recipes.apart import RISE

LAWS = ("analysers", "normal-law", "multiscale")
SMALL: dict[str, Any] = {"latent": 3, "widths": (4, 8), "seed": 0}


def recipe_of(data: pv.Data, decoder: str = "analysers", **options: Any) -> pv.Recipe:
    more = {} if decoder == "analysers" else {"apart": 0.5}
    return pv.recipes.arbitrary_conditioning(data.spec, decoder=decoder, **{**more, **SMALL, **options})


def begun(recipe: pv.Recipe, data: pv.Data) -> dict[str, Tensor]:
    """A batch as the model reads it, after the recipe has seen some."""
    x = data.train.tensors["x"][:24].float() / 255
    if recipe.start is not None:
        recipe.start(recipe.observe({"x": x}))
    return recipe.observe({"x": x[:6]})


@pytest.mark.parametrize("decoder", LAWS)
@pytest.mark.parametrize("likelihood", ["bernoulli", "logistic", "normal-network"])
def test_both_say_the_same_before_the_first_step(decoder, likelihood) -> None:
    data = pictures(side=8)
    recipe = recipe_of(data, decoder, likelihood=likelihood)
    batch = begun(recipe, data)
    heads, expected = dict(recipe.model.heads.items()), decoder != "multiscale"
    assert list(heads) == ["x", "x_without_z"]
    for head in heads.values():
        assert isinstance(head, Head)
        assert isinstance(head.likelihood, Around) == expected
        assert head.of == "x"
    if expected:
        recipe.model.eval()
        draw = recipe.model(batch, 2)
        said, alone = (draw.heads[name].log_p for name in heads)
        torch.testing.assert_close(said, alone.expand_as(said), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("decoder", LAWS)
def test_the_loss_is_that_of_both_and_a_divergence_that_rises(decoder) -> None:
    data = pictures(side=8)
    recipe = recipe_of(data, decoder, apart=0.3)
    batch = begun(recipe, data)
    recipe.model.eval()
    for parameter in recipe.model.parameters():  # away from where z says nothing
        nn.init.normal_(parameter, std=0.1)
    for step in (0, RISE // 4, RISE, 5 * RISE):
        torch.manual_seed(1)
        values = recipe.objective(recipe.model, batch, step)
        torch.manual_seed(1)
        draw = recipe.model(batch, 1)
        x, alone, kl = draw.heads["x"].log_p, draw.heads["x_without_z"].log_p, draw.latents["z"].kl
        rise = min(1.0, step / RISE)
        expected = (-0.3 * alone + 0.7 * (rise * kl - x)).mean()
        torch.testing.assert_close(values["loss"], expected)
        torch.testing.assert_close(values["bound"], (x - kl).mean())  # that of the head of z, however they are weighed
    assert not torch.allclose(x, alone, rtol=1e-3)


def trained(data: pv.Data, decoder: str, **options: Any) -> pv.Run:
    return pv.fit(recipe_of(data, decoder, **options), data, epochs=2, batch_size=12, progress=False, device="cpu")


@pytest.mark.parametrize("decoder", LAWS)
def test_a_completion_lies_between_draws_and_what_m_says_alone(decoder) -> None:
    data = pictures(side=8)
    run, draws = trained(data, decoder), 7
    model = run.model.eval()
    x = data.train.tensors["x"][:4].float() / 255
    m = sparse(x, (torch.rand(4, 1, 8, 8) < 0.3).float())
    batch = {"x": x, "m": m}
    with torch.no_grad():
        torch.manual_seed(0)
        (found,) = Completer(draws).predict(model, batch)
        values = model.featured({**batch, "z": torch.full((4, 3), torch.nan)}, ["alone", *model.features])
        alone = model.heads["x_without_z"](values).mean
        (told,) = Completer(2, latents="none").predict(model, batch)
    torch.testing.assert_close(told.mean, alone)
    share = 0.5 * draws / (draws + EVEN)
    torch.testing.assert_close(found.mean, share * found.means.mean(0) + (1 - share) * alone)
    shown = score_completions(run, Split({"x": x}), {9: observation("uniform", 9)}, Completer(4))
    assert [score.method for score in shown][:2] == ["model", "without z"]


def test_without_latents_it_is_what_m_says_alone() -> None:
    data = pictures(side=8)
    whole = recipe_of(data)
    bare = without_latents(whole, data.spec)
    assert list(bare.model.heads) == ["x_without_z"]
    assert set(bare.model.features) == {"analysed", "alone"}
    read = {
        id(p) for p in (*whole.model.features["alone"].parameters(), *whole.model.heads["x_without_z"].parameters())
    }
    assert {id(p) for p in bare.model.parameters()} == read
    batch = begun(whole, data)
    values = whole.objective(whole.model.eval(), batch)
    torch.testing.assert_close(bare.objective(bare.model.eval(), batch)["loss"], values["without_z"])


def test_where_it_is_not_usual() -> None:
    data, labelled = pictures(side=8), pictures(side=8, labels=True)
    assert list(recipe_of(data, "multiscale", apart=0).model.heads) == ["x"]
    assert isinstance(recipe_of(data, "normal-law", apart=None).objective, Direct)
    for options in ({"apart": 0}, {"direct": 0.2}):
        recipe = recipe_of(data, **options)
        assert list(recipe.model.heads) == ["x"]
        assert isinstance(recipe.objective, Direct)
    own = recipe_of(data, objective=pv.objectives.ImportanceWeighted(samples=2))
    assert list(own.model.heads) == ["x"]
    conditional = recipe_of(labelled, condition=True)
    assert isinstance(conditional.objective, Direct)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"apart": 0.5, "direct": 0.1}, "leave out one of them"),
        ({"apart": 0.5, "decoder": "flat"}, "no part of decoder flat"),
        ({"apart": 0.5, "condition": True}, "reads no condition"),
        ({"apart": 0.5, "objective": pv.objectives.ImportanceWeighted(samples=2)}, "leave out objective"),
        ({"apart": 1.5}, "apart"),
    ],
)
def test_what_it_refuses(options, message) -> None:
    data = pictures(side=8, labels=True)
    with pytest.raises(ValueError, match=message):
        recipe_of(data, **{"decoder": "analysers", **options})


def test_of_fields_it_reads_standardised_numbers() -> None:
    torch.manual_seed(0)
    x, read = 1000 + 50 * torch.randn(40, 2, 8, 8), []
    data = pv.data.wrap(x, validation=10)
    recipe = recipe_of(data, "multiscale")
    alone = next(part for part in recipe.model.features.modules() if isinstance(part, Alone))
    alone.register_forward_pre_hook(lambda net, given: read.append(given[0]))
    recipe.model(recipe.observe({"x": x[:6]}))
    assert float(read[0].abs().max()) < 6


def test_alone_a_network_of_m_is_no_row_beside_itself() -> None:
    data = pictures(side=8)
    bare = without_latents(recipe_of(data), data.spec)
    shown = score_completions(bare, Split({"x": torch.rand(4, 1, 8, 8)}), {9: observation("uniform", 9)}, Completer(4))
    assert "without z" not in [score.method for score in shown]
    (told,) = Completer(2, latents="none").predict(bare.model, begun(bare, data))
    assert told.mean.shape == (6, 1, 8, 8)


def test_it_is_of_pictures() -> None:
    table = pv.data.wrap(torch.randn(40, 5), validation=10)
    with pytest.raises(ValueError, match="apart: a network of m alone is for pictures"):
        pv.recipes.arbitrary_conditioning(table.spec, apart=0.5)
