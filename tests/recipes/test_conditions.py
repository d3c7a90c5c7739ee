"""Conditions of any kind, alone and several, hidden and shown: identities with models that need none of it."""

from inspect import signature
from typing import Any

import pytest
import torch
from torch import Tensor

import polyvae as pv
from polyvae.model.spec import Beside, Spec
from polyvae.observe.conditions import Hide
from polyvae.observe.transforms import chain
from polyvae.recipes import RECIPES

SMALL: dict[str, Any] = {"latent": 3, "network": "mlp", "widths": (6,)}
BESIDE = (Beside("colour", (), 3), Beside("angle", (2,)), Beside("sketch", (1, 8, 8)), Beside("icon", (1, 4, 4)))
PICTURES = Spec((1, 8, 8), classes=4, beside=BESIDE)
TABLE = Spec((5,), y=2, levels=None, beside=(Beside("angle", (3,)),))


TAKING = [name for name in RECIPES if {"condition", "dropped"} <= set(signature(RECIPES[name]).parameters)]


def batch(spec: Spec, count: int = 6, seed: int = 0) -> dict[str, Tensor]:
    noise = torch.Generator().manual_seed(seed)
    made = {"x": (torch.rand(count, *spec.x, generator=noise) * 255).round() / 255}
    for name, each in spec.given.items():
        labels = torch.arange(count) % (each.classes or 1)
        made[name] = labels if each.classes else torch.rand(count, *each.shape, generator=noise)
    return made


def bound(made: pv.Recipe, values: dict[str, Tensor], seed: int = 0) -> Tensor:
    """The plain bound of every example in evaluation mode, at draws of this seed."""
    made.model.eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        return made.model(made.observe(values), 4).log_weight.mean(0)


def with_weights(made: pv.Recipe, of: pv.Recipe, cut: int) -> pv.Recipe:
    """The recipe with the weights of another, less the last `cut` columns where a layer of that one reads more."""
    ours, theirs = made.model.state_dict(), of.model.state_dict()
    made.model.load_state_dict({name: theirs[name][tuple(map(slice, each.shape))] for name, each in ours.items()})
    assert any(theirs[name].shape[-1] == each.shape[-1] + cut for name, each in ours.items() if each.ndim > 1)
    return made


def test_a_cvae_whose_conditions_are_all_hidden_is_the_vae_of_its_weights() -> None:
    told = pv.recipes.cvae(PICTURES, condition=("y", "angle"), dropped=0.5, seed=1, **SMALL)
    plain = with_weights(pv.recipes.vae(PICTURES, seed=2, **SMALL), told, cut=4 + 1 + 2 + 1)
    values = batch(PICTURES)
    blind = pv.Recipe(told.model, told.objective, chain(told.observe, Hide(("y", "angle"))))
    assert torch.equal(bound(blind, values), bound(plain, values))
    assert torch.equal(bound(told, {"x": values["x"]}), bound(plain, values))
    assert not torch.allclose(bound(told, values), bound(plain, values))


def test_a_cvae_that_never_sees_its_condition_in_training_learns_what_a_vae_learns() -> None:
    told = pv.recipes.cvae(TABLE, dropped=1.0, seed=1, **SMALL)
    plain = with_weights(pv.recipes.vae(TABLE, seed=2, **SMALL), told, cut=3)
    values = batch(TABLE)
    losses = []
    for made in (told, plain):
        made.model.train()
        torch.manual_seed(0)
        if made is plain:
            torch.empty(6).bernoulli_(0.0)  # as the other draws what it hides
        losses.append(made.objective(made.model, made.observe(values))["loss"])
        losses[-1].backward()
    assert torch.equal(losses[0], losses[1])
    for name, ours in plain.model.named_parameters():
        theirs = dict(told.model.named_parameters())[name].grad
        assert ours.grad is not None
        assert theirs is not None
        # A product of wider matrices may add up in another order.
        torch.testing.assert_close(theirs[tuple(map(slice, ours.shape))], ours.grad)


@pytest.mark.parametrize("prior", ["standard", "conditional"])
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_several_vectors_are_one_vector_of_all_of_them(network: str, prior: str) -> None:
    options: dict[str, Any] = {"latent": 3, "network": network, "widths": (4,), "prior": prior, "seed": 3}
    spec = Spec((1, 8, 8), y=2, beside=(Beside("angle", (3,)),))
    several = pv.recipes.cvae(spec, condition=("y", "angle"), **options)
    one = pv.recipes.cvae(Spec((1, 8, 8), y=5), **options)
    values = batch(spec)
    whole = {"x": values["x"], "y": torch.cat([values["y"], values["angle"]], 1)}
    assert several.model.state_dict().keys() == one.model.state_dict().keys()
    assert torch.equal(bound(several, values), bound(one, whole))


def test_one_condition_by_its_name_is_the_condition_that_is_true() -> None:
    values = batch(PICTURES)
    named = [pv.recipes.cvae(PICTURES, condition=each, seed=1, **SMALL) for each in (True, "y", ("y",))]
    first, *others = (bound(each, values) for each in named)
    assert all(torch.equal(first, each) for each in others)
    elsewhere = Spec((1, 8, 8), beside=(Beside("digit", (), 4),))
    made = pv.recipes.cvae(elsewhere, condition="digit", seed=1, **SMALL)
    assert torch.equal(bound(made, {"x": values["x"], "digit": values["y"]}), first)


CASES = {
    "label": "colour",
    "vector": "angle",
    "picture of x's sides": "sketch",
    "another picture": "icon",
    "several": "y,colour,angle,sketch,icon",
}


@pytest.mark.parametrize("dropped", [None, 0.5])
@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("names", CASES.values(), ids=CASES)
def test_every_kind_of_condition_trains_and_is_heeded(names: str, network: str, dropped: float | None) -> None:
    options: dict[str, Any] = {"latent": 3, "network": network, "widths": (4, 6), "prior": "conditional"}
    made = pv.recipes.cvae(PICTURES, condition=names, dropped=dropped, seed=1, **options)
    values = batch(PICTURES)
    loss = made.objective(made.model, made.observe(values))["loss"]
    loss.backward()
    assert loss.isfinite()
    assert not [name for name, each in made.model.named_parameters() if each.grad is None]
    before = bound(made, values)
    for name in names.split(","):
        changed = values | {name: values[name].roll(1, 0) if PICTURES.given[name].classes else values[name] + 1}
        assert not torch.allclose(bound(made, changed), before), name
    drawn = made.model.generate({n: v for n, v in made.observe(values).items() if n in made.model.conditions})
    assert drawn["x"].mean.shape == values["x"].shape


@pytest.mark.parametrize("name", TAKING)
def test_every_recipe_reads_several_conditions_that_may_be_hidden(name: str) -> None:
    own = {"latent": 3, "network": "mlp", "widths": (4,), "channels": 4, "layers": 2, "codes": 5}
    taken = signature(RECIPES[name]).parameters
    given = {key: value for key, value in own.items() if key in taken and not (key == "codes" and "latent" in taken)}
    spec = Spec((6,), classes=3, levels=None, beside=(Beside("angle", (2,)),)) if name == "count_vae" else PICTURES
    if name == "vae_gan":  # whose critic reads them in all rows
        with pytest.raises(ValueError, match="dropped: a critic reads the conditions in all rows"):
            RECIPES[name](spec, condition="y,angle", dropped=0.2, **given)
        return
    made = RECIPES[name](spec, condition="y,angle", dropped=0.2, seed=1, **given)
    values = batch(spec) | ({"x": torch.ones(6, 6)} if name == "count_vae" else {})
    observed = made.observe({name: each for name, each in values.items() if name in ("x", "y")})
    assert observed["angle_known"].tolist() == [False] * 6
    if made.start is not None:  # parts that start from what they read of the conditions, which are features here
        made.start(observed)
    draw = made.model.eval()(observed)
    assert draw.log_weight.isfinite().all() if name not in ("ae", "rae", "wae", "adversarial_autoencoder") else True
    assert {"y", "y_known", "angle", "angle_known"} <= set(made.model.inputs)


def test_what_is_dropped_is_a_share_of_the_rows_and_each_condition_by_itself() -> None:
    made = pv.recipes.cvae(PICTURES, condition=("y", "angle"), dropped=0.3, seed=1, **SMALL)
    values = made.observe(batch(PICTURES, 20_000))
    torch.manual_seed(0)
    y, angle = (made.model.features[f"{name}_read"](values) for name in ("y", "angle"))
    hidden = [(each[:, :-1] == 0).all(1) for each in (y, angle)]
    for each, read in zip(hidden, (y, angle), strict=True):
        assert torch.equal(each, read[:, -1] == 0)
        assert float(each.float().mean()) == pytest.approx(0.3, abs=0.01)
    assert float((hidden[0] & hidden[1]).float().mean()) == pytest.approx(0.09, abs=0.01)
    made.model.eval()
    assert bool((made.model.features["y_read"](values)[:, -1] == 1).all())


def test_a_row_whose_condition_is_unknown_is_read_as_hidden_whatever_stands_there() -> None:
    made = pv.recipes.cvae(PICTURES, dropped=0.0, seed=1, **SMALL)
    values, known = batch(PICTURES), torch.tensor([True, False] * 3)
    found = bound(made, values | {"y_known": known})
    other = bound(made, values | {"y_known": known, "y": torch.where(known, values["y"], -1)})
    assert torch.equal(found, other)
    assert torch.equal(found[known], bound(made, values)[known])
    assert torch.equal(found[~known], bound(made, {"x": values["x"]})[~known])


def test_guidance_of_a_model_is_that_of_its_laws_with_and_without_the_condition() -> None:
    made = pv.recipes.cvae(PICTURES, prior="conditional", dropped=0.1, likelihood="bernoulli", seed=1, **SMALL)
    model, values = made.model.eval(), made.observe({"y": torch.arange(4)})
    free = made.observe({"y": torch.arange(4), "y_known": torch.zeros(4, dtype=torch.bool)})
    z = torch.randn(4, 3)
    told, blind = (model.decode({**each, "z": z})["x"] for each in (values, free))
    for w in (0.0, 1.0, 2.5):
        assert torch.allclose(model.decode({**values, "z": z}, w)["x"].logits, w * told.logits + (1 - w) * blind.logits)
    torch.manual_seed(5)
    unguided = model.sample_latents(values, guidance=0.0)["z"]
    torch.manual_seed(5)
    assert torch.equal(unguided, model.sample_latents(free)["z"])
    torch.manual_seed(5)
    prior, drawn = model.prior["z"], model.sample_latents(values, 2000, guidance=1.5)["z"].view(2000, 4, 3)
    p, p0 = (prior(model.featured(each, prior.given)).base_dist for each in (values, free))
    precision = 1.5 / p.variance - 0.5 / p0.variance
    mean = (1.5 * p.mean / p.variance - 0.5 * p0.mean / p0.variance) / precision
    assert torch.allclose(drawn.mean(0), mean, atol=0.12)
    assert torch.allclose(drawn.var(0), 1 / precision, rtol=0.15)


REFUSED = {
    "no such value": (
        {"condition": "size"},
        "these data have no value 'size' beside x; they hold y, colour",
    ),
    "twice": ({"condition": "y,y"}, "condition is True, or the names of values beside x, each once"),
    "numbers": ({"condition": (1, 2)}, "condition is True, or the names"),
    "nothing to drop": ({"condition": False, "dropped": 0.1}, "dropped hides what a model reads beside x"),
    "a share": ({"dropped": 1.5}, "dropped is a number from 0 to 1"),
}


@pytest.mark.parametrize(("options", "words"), REFUSED.values(), ids=REFUSED)
def test_conditions_that_cannot_be_are_refused_by_name(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pv.recipes.vae(PICTURES, **{"condition": True, **SMALL, **options})


def test_guidance_without_dropped_conditions_is_refused() -> None:
    made = pv.recipes.cvae(PICTURES, seed=1, **SMALL)
    with pytest.raises(ValueError, match="guidance = 2 needs a model that has learned to do without"):
        made.model.generate(made.observe({"y": torch.arange(4)}), guidance=2.0)
