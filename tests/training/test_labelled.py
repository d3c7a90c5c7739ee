"""M1+M2: a labelled second autoencoder above a trained one, as one model with a bound of its own."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

import polyvae as pv
from polyvae.training.second_stage import latent_data, with_prior

EXAMPLES, CLASSES = 60, 3


def composed(covariance: str = "full") -> pv.Run:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(EXAMPLES) % CLASSES
    x = (torch.rand(EXAMPLES, 1, 4, 4, generator=generator) < 0.2 + 0.3 * y.view(-1, 1, 1, 1)).float()
    data = pv.data.wrap({"x": x, "y": y, "y_known": torch.arange(EXAMPLES) < 12})
    small = {"epochs": 2, "batch_size": 16, "device": "cpu", "progress": False, "seed": 0}
    run = pv.fit(pv.recipes.vae(data, latent=3, network="mlp", widths=[8], seed=0), data, **small)
    prior = pv.fit_prior(run, data, "labelled", top=2, covariance=covariance, widths=[8], features=6, **small)
    return with_prior(run, prior)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_the_bound_of_both_stages_is_a_sum_over_labels_at_the_draws(covariance: str) -> None:
    model = composed(covariance).model.double().eval()
    x = torch.rand(5, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).round()
    draw = model({"x": x})
    z = draw.values["z"][:5]
    encoded, above = model.encode({"x": x})["z"], {"z": z}
    h = {name: feature({**above}) for name, feature in model.features.items()}
    q_y = model.posterior["y"]({**above, **h})
    total = model.decode({**draw.values})["x"].log_prob(x.repeat(CLASSES, 1, 1, 1))[:5] - encoded.log_prob(z)
    standard = Independent(Normal(torch.zeros(2, dtype=torch.float64), 1.0), 1)
    for number in range(CLASSES):
        y = torch.eye(CLASSES, dtype=torch.float64)[number].expand(5, -1)
        read = {**above, **h, "y": y, "u": draw.values["u"][5 * number : 5 * (number + 1)]}
        inner = model.prior["z"](read).log_prob(z) - kl_divergence(model.posterior["u"](read), standard)
        log_q = q_y.logits.log_softmax(1)[:, number]
        total = total + log_q.exp() * (inner + model.prior["y"]({}).logits.log_softmax(-1)[number] - log_q)
    torch.testing.assert_close(draw.elbo, total, atol=1e-9, rtol=0)
    assert draw.importance_bound.isfinite().all()


def test_its_latents_stand_above_z_and_it_generates_of_a_class() -> None:
    run = composed()
    assert set(run.model.posterior) == {"z", "y", "u"}
    assert run.model.summed == {"y"}
    told = run.model.generate(fixed={"y": torch.eye(CLASSES)}, count=2)["x"].mean
    assert told.shape == (2 * CLASSES, 1, 4, 4)
    means = told.view(2, CLASSES, -1).mean((0, 2))
    assert means.isfinite().all()


def test_draws_of_z_are_of_the_classes_that_an_example_may_be_of() -> None:
    data = pv.data.wrap({"x": torch.randn(30, 6), "y": torch.arange(30) % CLASSES})
    run = pv.fit(pv.recipes.m2(data, latent=2, widths=[8], features=8, seed=0), data, epochs=5, lr=0.05, progress=False)
    looks = 20_000
    drawn = latent_data(run, data).test.batch(torch.zeros(looks, dtype=torch.long))["x"]
    draw = run.model.infer(run.recipe.observe(data.test.batch(torch.zeros(1, dtype=torch.long))))
    share, law = draw.latents["y"].q.logits.softmax(1)[0], draw.latents["z"].q
    mean = share @ law.mean
    variance = share @ (law.variance + law.mean.square()) - mean.square()
    assert drawn.shape == (looks, 2)
    assert ((drawn.mean(0) - mean).abs() < 5 * (variance / looks).sqrt()).all()
    assert (drawn.var(0) / variance - 1).abs().max() < 0.05
    assert pv.fit_prior(run, data, "mixture", components=2, progress=False).recipe.call is not None


def test_a_prior_is_fitted_to_a_mixtures_vector_where_pictures_change_at_every_look() -> None:
    data = pv.data.load("digits", binarise="dynamic", limit=60)
    run = pv.fit(pv.recipes.gmvae(data, latent=2, top=2, widths=[8], seed=0), data, epochs=1, progress=False)
    fitted = with_prior(run, pv.fit_prior(run, data, "mixture", components=2, progress=False))
    assert fitted.model.generate(count=3)["x"].mean.isfinite().all()


@pytest.mark.parametrize("stacked", [False, True])
def test_a_run_whose_latent_is_the_label_is_sampled_class_by_class(
    stacked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if stacked:
        run = composed()
    else:
        data = pv.data.wrap({"x": torch.randn(30, 6), "y": torch.arange(30) % CLASSES})
        run = pv.fit(pv.recipes.m2(data, latent=2, widths=[8], features=8, seed=0), data, epochs=1, progress=False)
    seen, decode = [], run.model.decode
    monkeypatch.setattr(run.model, "decode", lambda values, *rest: seen.append(values["y"]) or decode(values, *rest))
    drawn = run.sample(4, y=[2, 0], expected=True)
    assert len(drawn) == 8
    assert torch.cat(seen).argmax(1).tolist() == [2, 0] * 4
    assert run.sample(4, y=torch.eye(CLASSES)[[2, 0]], expected=True).equal(torch.from_numpy(drawn))
    seen.clear()
    assert len(run.sample(50)) == 50
    assert torch.cat(seen).argmax(1).unique().tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="labels of the data of this run are"):
        run.sample(1, y=[7])


def test_a_label_above_a_label_is_refused_before_it_is_trained() -> None:
    data = pv.data.wrap({"x": torch.randn(30, 6), "y": torch.arange(30) % CLASSES})
    run = pv.fit(pv.recipes.m2(data, latent=2, widths=[8], features=8, seed=0), data, epochs=1, progress=False)
    with pytest.raises(pv.RunError, match=r"has values named \['h', 'y'\] already"):
        pv.fit_prior(run, data, "labelled", epochs=1, progress=False, callbacks=[lambda row: pytest.fail("trained")])
