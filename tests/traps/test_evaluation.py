"""Mistakes of published evaluations, each a test that fails on the mistake; the number is that of the list of traps."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import MultivariateNormal

from polyvae import figures, recipes
from polyvae.data.split import Split
from polyvae.evaluation import (
    BLOCK,
    both_bounds,
    describe_codes,
    each_block,
    errors,
    evaluate,
    importance_bound,
    reconstruction_errors,
    sampled_pictures,
)
from polyvae.model.families.real import DiagonalNormal
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Conditional, Head
from polyvae.objectives.bounds import ImportanceWeighted
from polyvae.observe.transforms import Binarise


def bits(examples=230):
    torch.manual_seed(0)
    return Split({"x": (torch.rand(examples, 1, 6, 6) > 0.5).to(torch.uint8) * 255})


def small(**options):
    return recipes.vae(
        Spec((1, 6, 6), levels=2), **{"network": "mlp", "widths": (8,), "latent": 3, "seed": 0, **options}
    )


def fitted(examples=130):
    torch.manual_seed(0)
    x = (torch.randn(examples, 2) @ torch.randn(2, 4) + 0.3 * torch.randn(examples, 4)).double()
    made = recipes.ppca(Spec((4,), levels=None), latent=2)
    made.solve({"x": x})
    model = made.model.double()
    decoder = model.heads["x"].likelihood
    covariance = decoder.weight @ decoder.weight.T + decoder.scale**2 * torch.eye(4, dtype=torch.float64)
    return made, Split({"x": x}), MultivariateNormal(decoder.mean, covariance).log_prob(x)


def test_trap04_a_bound_has_the_sign_of_log_p_negative_for_discrete_data_either_way_for_densities():
    report = evaluate(small(), bits(), samples=3)
    assert report["bound"] < 0
    assert report["importance_bound"] < 0
    assert report["bound_bits"] > 0
    made, split, exact = fitted()
    assert evaluate(made, split, samples=50)["importance_bound"] == pytest.approx(float(exact.mean()), abs=1e-5)
    shrunk = Split({"x": split.tensors["x"] * 1e-3})
    narrow = recipes.ppca(Spec((4,), levels=None), latent=2)
    narrow.solve(shrunk.tensors)
    assert evaluate(VAE(*_parts(narrow.model.double())), shrunk, samples=50)["bound"] > 0


def _parts(model):
    return model.posterior["z"], model.prior["z"], model.heads["x"].likelihood


def test_trap05_plain_and_importance_bound_hold_the_same_constants():
    made, split, exact = fitted()
    found = both_bounds(made, split, samples=3000)
    torch.testing.assert_close(found.importance, exact, rtol=0, atol=1e-6)
    assert float((found.plain - exact).mean().abs()) < 0.01


@pytest.mark.parametrize("weight", [0.0, 100.0])
def test_trap06_no_weight_of_a_head_enters_a_reported_bound(weight):
    made, split, exact = fitted()
    q, prior, p = _parts(made.model)
    weighed = VAE(q, prior, {"x": Head(p, "x", weight=weight)})
    torch.testing.assert_close(importance_bound(weighed, split, 20), exact, rtol=0, atol=1e-6)
    plain = evaluate(made, split, samples=7)
    assert evaluate(weighed, split, samples=7)["bound"] == plain["bound"]
    assert evaluate(weighed, split, samples=7)["reconstruction"] == plain["reconstruction"]


def test_trap11_the_reported_loss_of_importance_weighting_is_the_logarithm_of_the_mean_weight():
    made = small(objective=ImportanceWeighted(8))
    batch = bits().batch(torch.arange(50))
    torch.manual_seed(3)
    loss = made.objective(made.model, batch)["loss"].detach()
    torch.manual_seed(3)
    weight = made.model(batch, 8).log_weight.detach()
    direct = -weight.double().exp().mean(0).log().mean()
    torch.testing.assert_close(loss.double(), direct, rtol=1e-6, atol=0)
    normalised = -(weight.softmax(0) * weight).sum(0).mean()
    assert float((loss - normalised).abs()) > 0.01


def test_trap22_encoding_and_reconstruction_are_the_same_at_every_call():
    made, split = small(), bits()
    batch = split.batch(torch.arange(20))
    first, second = (made.model.reconstruct(batch)["x"].mean for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(made.model.encode(batch)["z"].mean, made.model.encode(batch)["z"].mean)
    for measure in (reconstruction_errors, lambda *a: {"means": describe_codes(*a)["z"].means}):
        found, again = measure(made, split), measure(made, split)
        assert all(torch.equal(value, again[name]) for name, value in found.items())


def test_trap22_evaluation_repeats_itself_and_leaves_the_random_state_alone():
    made, split = small(), bits()
    before = torch.get_rng_state()
    first = evaluate(made, split, samples=5)
    torch.rand(17)
    second = evaluate(made, split, samples=5)
    assert first == second
    torch.set_rng_state(before)
    evaluate(made, split, samples=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert evaluate(made, split, samples=5, seed=1)["bound"] != first["bound"]


def test_trap23_evaluation_is_in_evaluation_mode_and_every_module_gets_its_own_mode_back():
    torch.manual_seed(0)
    made = recipes.vae(Spec((1, 8, 8), levels=2), network="conv", widths=(4, 4), latent=2, seed=0)
    made.model.train()
    frozen = next(module for module in made.model.modules() if isinstance(module, nn.BatchNorm2d))
    frozen.eval()
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    split = Split({"x": (torch.rand(130, 1, 8, 8) > 0.3).float()})
    seen = each_block(made, split, lambda model, batch: any(module.training for module in model.modules()))
    assert seen == [False, False]
    evaluate(made, split, samples=3)
    figures.reconstructions(made, split)
    sampled_pictures(made, split, 5)
    assert all(torch.equal(value, before[name]) for name, value in made.model.state_dict().items())
    assert made.model.training
    assert not frozen.training
    assert all(module.training for module in made.model.modules() if module is not frozen)


def test_trap23_modes_come_back_after_a_failure_too():
    made = small()
    made.model.train()

    def fail(model, batch):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        each_block(made, bits(), fail)
    assert made.model.training
    assert torch.is_grad_enabled()


def test_trap24_every_example_is_counted_once_and_the_asked_number_of_samples_is_drawn():
    made, split = small(), bits(203)
    seen = []

    class Counted(nn.Module):
        given = ("z",)

        def __init__(self, likelihood):
            super().__init__()
            self.likelihood = likelihood

        def forward(self, values):
            seen.append(len(values["z"]))
            return self.likelihood(values)

    q, prior, p = _parts(made.model)
    found = importance_bound(VAE(q, prior, Counted(p)), split, samples=77)
    assert found.shape == (203,)
    assert sum(seen) == 203 * 77
    assert min(seen) > 3 * 77 - 1  # several at a time, never one


def test_trap24_the_remainder_of_the_samples_is_drawn_too(monkeypatch):
    monkeypatch.setattr("polyvae.evaluation.bounds._CPU_VALUES", 10 * 100 * 36)
    made, split = small(), bits(100)
    sizes = []
    q, prior, p = _parts(made.model)
    p.register_forward_hook(lambda module, given, law: sizes.append(law.batch_shape[0] // 100))
    importance_bound(VAE(q, prior, p), split, samples=25)
    assert sizes == [10, 10, 5]


def test_trap25_the_last_short_block_weighs_by_its_size():
    made, _, _ = fitted()
    x = torch.zeros(BLOCK + 1, 4, dtype=torch.float64)
    x[-1] = 5.0
    split = Split({"x": x})
    report = evaluate(made, split, samples=200)
    decoder = made.model.heads["x"].likelihood
    covariance = decoder.weight @ decoder.weight.T + decoder.scale**2 * torch.eye(4, dtype=torch.float64)
    exact = MultivariateNormal(decoder.mean, covariance).log_prob(x)
    assert report["importance_bound"] == pytest.approx(float(exact.mean()), abs=1e-5)
    means = describe_codes(made, split)["z"].means
    expected = made.model.encode({"x": x})["z"].mean
    torch.testing.assert_close(means, expected)
    aggregate = torch.tensor(report["latents"]["z"]["aggregate"]["mean"], dtype=torch.float64)
    torch.testing.assert_close(aggregate, expected.mean(0), rtol=0, atol=1e-9)


def test_trap27_pictures_are_clamped_scaled_and_rounded_and_never_wrap_round():
    values = np.array([-0.01, -5.0, 0.0, 0.4 / 255, 0.6 / 255, 0.5, 254.6 / 255, 1.0, 1.01, 300.0, np.nan])
    assert figures.to_bytes(values).tolist() == [0, 0, 0, 0, 1, 128, 255, 255, 255, 255, 0]


def test_trap27_a_written_picture_holds_those_bytes(tmp_path):
    pictures = np.array([-0.01, 1.01, 0.6 / 255, 0.5], dtype=np.float32).reshape(1, 1, 1, 2, 2)
    path = figures.save_montage(tmp_path / "small.png", pictures, gap=0)
    with Image.open(path) as picture:
        assert np.asarray(picture)[..., 0].tolist() == [[0, 255], [1, 128]]


def test_trap27_metrics_see_clamped_means_and_never_logits():
    x = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 6, 6)
    wild = torch.tensor([-3.0, 4.0]).view(2, 1, 1, 1).expand(2, 1, 6, 6)
    assert errors(x, wild, True)["mse"].tolist() == [0, 0]
    made, split = small(), bits()
    batch = split.batch(torch.arange(5))
    z = made.model.encode(batch)["z"].mean
    logits = made.model.heads["x"].likelihood.net(z)
    expected = (TorchBernoulli(logits=logits).mean - batch["x"]).square().flatten(1).mean(1)
    torch.testing.assert_close(reconstruction_errors(made, split)["mse"][:5], expected.double(), rtol=1e-5, atol=0)
    samples = sampled_pictures(made, split, 50)
    assert 0 < float(samples.min()) < float(samples.max()) < 1


def test_trap29_nothing_depends_on_how_training_was_batched_nor_on_what_else_is_evaluated():
    made, split = small(), bits(250)
    whole = importance_bound(made, split, samples=9)
    front = importance_bound(made, split.take(range(100)), samples=9)
    assert torch.equal(whole[:100], front)
    once = evaluate(made, split, samples=9)
    for size in (7, 250):  # somebody reads the same data through a loader on the way
        for index in torch.arange(250).split(size):
            made.objective(made.model, split.batch(index))
        assert evaluate(made, split, samples=9) == once


def test_trap29_blocks_give_what_one_pass_over_everything_gives():
    made, split = small(), bits(250)
    batch = split.batch(torch.arange(250))
    with torch.no_grad():
        mean = made.model.reconstruct(batch)["x"].mean
        posterior = made.model.encode(batch)["z"].mean
    for name, value in errors(batch["x"], mean, True).items():
        torch.testing.assert_close(reconstruction_errors(made, split)[name], value.double(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(describe_codes(made, split)["z"].means, posterior.double(), rtol=1e-4, atol=1e-6)


def test_trap29_random_data_are_seeded_with_their_block_and_the_same_for_every_measure():
    grey = Split({"x": torch.full((150, 1, 6, 6), 128, dtype=torch.uint8)}, transform=Binarise("dynamic"))
    made = small()
    batches = [each_block(made, grey, lambda model, batch: batch["x"].clone(), seed=seed) for seed in (0, 0, 1)]
    assert all(torch.equal(a, b) for a, b in zip(batches[0], batches[1], strict=True))
    assert not torch.equal(batches[0][0], batches[2][0])
    assert not torch.equal(batches[0][0][:50], batches[0][1])
    observed = recipes.Recipe(made.model, made.objective, Binarise("dynamic"))
    plain = Split({"x": grey.tensors["x"]})
    assert evaluate(observed, plain, samples=3) == evaluate(observed, plain, samples=3)


def test_trap29_the_report_of_a_users_own_model_needs_no_recipe():
    q = Conditional(nn.Linear(4, 4), DiagonalNormal(), "x")
    model = VAE(q, StandardNormal(2), Conditional(nn.Linear(2, 8), DiagonalNormal(), "z"))
    assert evaluate(model, Split({"x": torch.randn(30, 4)}), samples=2)["examples"] == 30
