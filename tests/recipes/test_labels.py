"""Few labels and clusters: bounds beside brute-force sums, and what the models are where they are others."""

from __future__ import annotations

from dataclasses import replace
from math import log
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MultivariateNormal, Normal

import polyvae as pv
from polyvae.data import wrap
from polyvae.evaluation import class_probabilities, clustering
from polyvae.figures.arrays import curves
from polyvae.model.distributions import OneHot
from polyvae.model.posteriors import Bayes
from polyvae.model.priors import Classes, FullMixture, Mixture, NormalOfClass, StandardNormal
from polyvae.training.starting import rows_of

SPEC = pv.Spec((1, 4, 4), classes=3, levels=2)


def m2(classes: int = 3, **options: Any) -> pv.Recipe:
    spec = replace(SPEC, classes=classes)
    return pv.recipes.m2(spec, seed=0, latent=2, network="mlp", widths=[8], features=6, **options)


def batch(known: int = 0, classes: int = 3, rows: int = 9) -> dict[str, Tensor]:
    torch.manual_seed(1)
    y = torch.arange(rows) % classes
    return {"x": torch.rand(rows, 1, 4, 4).round(), "y": y, "y_known": torch.arange(rows) < known}


def wide(made: pv.Recipe, values: dict[str, Tensor]) -> tuple[pv.VAE, dict[str, Tensor]]:
    found = made.observe(values)
    return made.model.double(), {n: v.double() if v.is_floating_point() else v for n, v in found.items()}


def terms(model: pv.VAE, draw: pv.Draw, number: int, rows: int) -> Tensor:
    """L(x, y) at the draws of class y, from the model's own laws, one class at a time."""
    mine = slice(number * rows, (number + 1) * rows)
    values = {name: value[mine] for name, value in draw.values.items() if name in ("y", "z")}
    x = draw.values["x"]
    q = model.posterior["z"]({"h": model.features["h"]({"x": x}), **values})
    p = model.decode(values)["x"]
    divergence = torch.distributions.kl_divergence(q, Independent(Normal(torch.zeros(2).double(), 1.0), 1))
    return p.log_prob(x) - divergence - log(3)


def test_the_bound_of_m2_is_a_sum_over_labels_that_are_not_known_and_takes_those_that_are() -> None:
    made = m2()
    model, values = wide(made, batch(known=4))
    draw = model(values, fixed={"y": (values["label"], values["y_known"])})
    each = torch.stack([terms(model, draw, number, 9) for number in range(3)], 1)
    q = model.encode(values)["y"].probs
    elsewhere = (q * (each - q.log())).sum(1)
    told = each.gather(1, values["label"].argmax(1)[:, None])[:, 0]
    torch.testing.assert_close(draw.elbo, torch.where(values["y_known"], told, elsewhere), atol=1e-9, rtol=0)


def test_a_scale_that_is_fitted_to_all_classes_alike_is_refused_where_they_do_not_count_alike() -> None:
    data = wrap((torch.rand(40, 1, 4, 4), torch.arange(40) % 2), validation=8, test=8)
    options: dict[str, Any] = {"latent": 2, "network": "mlp", "widths": [8], "features": 8, "seed": 0}
    with pytest.raises(ValueError, match="likelihood: normal-optimal fits its scale to every class alike"):
        pv.recipes.m2(data.spec, likelihood="normal-optimal", **options)
    model = pv.recipes.m2(data.spec, likelihood="normal-learned", **options).model
    law = pv.Conditional(model.heads["x"].likelihood.net, pv.families.PixelNormal("optimal"), ("z", "y"))
    made = pv.VAE(dict(model.posterior), dict(model.prior), law, dict(model.features), summed="y")
    with pytest.raises(
        ValueError, match=r"likelihood of 'x' fits its scale to every class .* take a scale that is learn"
    ):
        made(examples := {"x": data.train.tensors["x"]})
    model(examples)
    pv.fit(
        pv.recipes.vade(data.spec, 2, likelihood="normal-optimal", latent=2, widths=[8]), data, epochs=1, progress=False
    )


def test_m2_with_all_labels_is_a_conditional_model_and_a_classifier() -> None:
    made = m2(classified=7.0)
    model, values = wide(made, batch(known=9))
    parts = {"h": model.features["h"]}
    cvae = pv.VAE(model.posterior["z"], StandardNormal(2).double(), model.heads["x"].likelihood, parts)
    torch.manual_seed(3)
    loss = made.objective(model, values)
    torch.manual_seed(3)
    draw = cvae({"x": values["x"], "y": values["label"]}, 3)  # its noise is that of the three classes
    mine = (draw.log_px - draw.kl).gather(0, values["label"].argmax(1)[None])[0]
    cross = torch.nn.functional.cross_entropy(model.encode(values)["y"].logits, values["label"].argmax(1))
    torch.testing.assert_close(loss["loss"], -(mine - log(3)).mean() + 7 * cross, atol=1e-9, rtol=0)


def test_m2_of_one_class_is_a_vae() -> None:
    made = m2(classes=1)
    model, values = wide(made, batch(classes=1))
    one = {"y": torch.ones(9, 1).double()}
    alone = pv.VAE(
        model.posterior["z"], StandardNormal(2).double(), model.heads["x"].likelihood, {"h": model.features["h"]}
    )
    torch.manual_seed(3)
    draw = model(values, 4)
    torch.manual_seed(3)
    other = alone({"x": values["x"], **one}, 4)
    torch.testing.assert_close(draw.elbo, other.elbo, atol=1e-9, rtol=0)
    torch.testing.assert_close(draw.importance_bound, other.importance_bound, atol=1e-9, rtol=0)


def test_labels_that_are_hidden_reach_no_weight() -> None:
    values, weights = batch(known=12, rows=60), []
    for shift in (0, 1):
        y = torch.where(values["y_known"], values["y"], (values["y"] + shift) % 3)
        data = wrap({**values, "y": y}, validation=10, test=0)
        run = pv.fit(m2(), data, epochs=2, batch_size=20, progress=False, device="cpu")
        weights.append(run.model.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    moved = wrap({**values, "y": (values["y"] + 1) % 3}, validation=10, test=0)
    other = pv.fit(m2(), moved, epochs=2, batch_size=20, progress=False, device="cpu").model.state_dict()
    assert not all(torch.equal(weights[0][name], other[name]) for name in other)


def test_rare_labels_come_again_until_they_are_the_share_of_an_epoch_that_is_asked_for() -> None:
    data = wrap(batch(known=5, rows=200), validation=10, test=0)
    rows = rows_of(m2(often=0.25), data.train)
    known = data.train.tensors["y_known"]
    assert 0.25 <= float(known[rows].float().mean()) < 0.27
    assert set(rows.tolist()) == set(range(len(data.train)))
    assert len(rows_of(m2(often=0.0), data.train)) == len(data.train)


def test_m2_asks_for_classes_and_the_objective_for_the_values_that_it_is_given() -> None:
    with pytest.raises(ValueError, match="m2 needs labels y of some classes"):
        pv.recipes.m2(pv.Spec((5,), levels=None))
    made = m2()
    with pytest.raises(KeyError, match="given 'label' with the examples"):
        made.objective(made.model, {"x": torch.rand(3, 1, 4, 4)})


def vade(covariance: str = "diagonal", clusters: int = 4) -> pv.Recipe:
    made = pv.recipes.vade(SPEC, clusters, covariance=covariance, latent=2, network="mlp", widths=[8], seed=0)
    torch.manual_seed(2)
    with torch.no_grad():
        for part in (made.model.prior["c"].logits, made.model.prior["z"].loc, made.model.prior["z"].raw_scale):
            part.add_(torch.randn_like(part))
        if covariance == "full":
            made.model.prior["z"].lower.add_(torch.randn(clusters, 2, 2))
    return made


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_the_bounds_of_vade_are_those_of_a_mixture_prior(covariance: str) -> None:
    made = vade(covariance)
    model, values = wide(made, batch())
    c, z = model.prior["c"], model.prior["z"]
    laws = z({"c": torch.eye(4).double()})
    if covariance == "full":
        prior = FullMixture(2, 4).double()
        prior.set(c.logits.softmax(0), laws.loc, laws.covariance_matrix)
    else:
        prior = Mixture(2, 4).double()
        prior.load_state_dict({"logits": c.logits, "loc": z.loc, "raw_scale": z.raw_scale})
    other = pv.VAE(model.posterior["z"], prior, model.heads["x"].likelihood)
    torch.manual_seed(5)
    draw = model(values, 3)
    torch.manual_seed(5)
    mixed = other(values, 3)
    torch.testing.assert_close(draw.elbo, mixed.elbo, atol=1e-6, rtol=0)
    torch.testing.assert_close(draw.importance_bound, mixed.importance_bound, atol=1e-6, rtol=0)
    split = wrap(values["x"].float()).train
    torch.testing.assert_close(
        class_probabilities(model.float(), split), class_probabilities(other.float(), split), atol=1e-5, rtol=0
    )


def test_a_mixture_of_one_cluster_is_a_vae() -> None:
    made = pv.recipes.vade(SPEC, 1, latent=2, network="mlp", widths=[8], seed=0)
    model, values = wide(made, batch())
    alone = pv.VAE(model.posterior["z"], StandardNormal(2).double(), model.heads["x"].likelihood)
    torch.manual_seed(5)
    draw = model(values, 3)
    torch.manual_seed(5)
    torch.testing.assert_close(draw.log_weight, alone(values, 3).log_weight, atol=2e-4, rtol=0)


def test_the_bound_of_the_gaussian_mixture_model_is_a_sum_over_its_clusters() -> None:
    made = pv.recipes.gmvae(SPEC, 3, top=2, latent=2, network="mlp", widths=[8], seed=0)
    model, values = wide(made, batch())
    draw = model(values)
    w, z = draw.values["w"][:9], draw.values["z"][:9]
    joint = []
    for number in range(3):
        c = torch.eye(3).double()[number].expand(9, 3)
        joint.append(model.prior["z"]({"w": w, "c": c}).log_prob(z) - log(3))
    log_joint = torch.stack(joint, 1)
    posterior = Categorical(logits=log_joint).probs
    given_z = (posterior * (log_joint - posterior.log())).sum(1)
    q = model.encode(values)
    divergence = torch.distributions.kl_divergence(q["w"], Independent(Normal(torch.zeros(2).double(), 1.0), 1))
    log_px = model.decode({"z": z})["x"].log_prob(values["x"])
    torch.testing.assert_close(draw.elbo, log_px + given_z - q["z"].log_prob(z) - divergence, atol=1e-9, rtol=0)


def test_the_class_given_a_vector_is_that_of_bayes_rule() -> None:
    torch.manual_seed(0)
    prior, law = Classes(3, learned=True), NormalOfClass(2, 3, full=True)
    means, factor = torch.randn(3, 2), torch.randn(3, 2, 2)
    covariances = factor @ factor.mT + 0.1 * torch.eye(2)
    law.set(means, covariances)
    with torch.no_grad():
        prior.logits.copy_(torch.randn(3))
    z = torch.randn(6, 2)
    scores = MultivariateNormal(means, covariances).log_prob(z[:, None]) + prior.logits.log_softmax(0)
    torch.testing.assert_close(Bayes("c", prior, "z", law)({"z": z}).probs, scores.softmax(1), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="none is the class 'y'"):
        Bayes("y", prior, "z", law)


def test_a_one_hot_law_is_torchs_and_lists_its_values() -> None:
    logits = torch.randn(5, 4)
    mine, theirs = OneHot(logits), torch.distributions.OneHotCategorical(logits=logits)
    support = mine.enumerate_support()
    torch.testing.assert_close(mine.log_prob(support), theirs.log_prob(support))
    assert mine.expand((3, 5)).sample().shape == (3, 5, 4)


def test_what_reads_no_class_is_decoded_once_for_all_of_them() -> None:
    made, rows = vade(), []
    made.model.heads["x"].register_forward_hook(lambda part, read, law: rows.append(law.batch_shape.numel()))
    made.model(batch(), 2)
    assert rows == [18]  # and not 4 times as many


def blobs() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    y = torch.arange(600) % 3
    centres = torch.tensor([[0.0, 0, 0, 0], [6, 6, 0, 0], [0, 6, 6, 6]])
    return centres[y] + torch.randn(600, 4), y


def test_clusters_settle_where_the_examples_are_and_a_resumed_run_settles_alike(tmp_path) -> None:
    x, y = blobs()
    data = wrap((x, y), validation=100, test=100)
    settings: dict[str, Any] = {"batch_size": 25, "lr": 3e-3, "progress": False, "device": "cpu"}

    def recipe() -> pv.Recipe:
        return pv.recipes.vade(data.spec, 3, settle=24, latent=2, network="mlp", widths=[32], seed=0)

    whole = pv.fit(recipe(), data, epochs=26, **settings)
    found = pv.evaluate(whole, data, samples=4)["clusters"]
    assert found["accuracy"] > 0.9, found
    for steps in (24 * 16, 24 * 16 + 3, None):
        resume = steps != 24 * 16
        cut = pv.fit(recipe(), data, tmp_path / "run", epochs=26, max_steps=steps, resume=resume, **settings)
    ends = whole.model.state_dict(), cut.model.state_dict()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    chances = class_probabilities(whole, data.test)
    assert clustering(chances.argmax(1), data.test.tensors["y"])["accuracy"] == pytest.approx(found["accuracy"])
    assert whole.model.generate(fixed={"c": torch.eye(3)}, count=2)["x"].mean.shape == (6, 4)


def test_no_epoch_before_the_clusters_part_is_kept_or_ends_the_run() -> None:
    x, y = blobs()
    data = wrap((x, y), validation=100, test=100)
    made, settled = pv.recipes.vade(data.spec, 3, settle=4, latent=2, network="mlp", widths=[32], seed=0), []
    with pytest.raises(
        ValueError, match="epochs: this model settles after 4, and 4 leave none after that; ask for mor"
    ):
        pv.fit(made, data, epochs=4, progress=False)
    with pytest.raises(ValueError, match="settles after 4"):
        pv.fit(made, data, epochs=3, progress=False)
    made = replace(made, settle=(4, lambda values: settled.append(len(values["x"]))))
    # At this rate no epoch is better than the one before, and patience is at its end after two.
    run = pv.fit(made, data, epochs=6, patience=1, lr=1e-9, batch_size=50, average=0.9, progress=False, device="cpu")
    assert settled == [400]
    assert run.best["epoch"] == curves(run.history).best > 4
    again = replace(pv.recipes.vade(data.spec, 3, settle=4, latent=2, network="mlp", widths=[32]), settle=made.settle)
    pv.fit(again, data, epochs=6, max_steps=4 * 8, batch_size=50, progress=False)  # no step is left to learn from it
    assert settled == [400]


def test_more_clusters_than_examples_are_refused_by_name_before_the_first_step(tmp_path) -> None:
    x, _ = blobs()
    made = pv.recipes.vade(pv.Spec((4,), levels=None), 60, latent=2, network="mlp", widths=[8])
    with pytest.raises(ValueError, match="clusters: 60 need as many training examples; got 30"):
        pv.fit(made, wrap(x[:40], validation=5, test=5), tmp_path / "run", epochs=2, progress=False)
    assert not (tmp_path / "run").exists()
