"""Completion: the predictive law against closed forms of linear models, what is refused, and chunks and seeds."""

from math import sqrt

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

import polyvae as pv
from polyvae.completion.baselines import baselines
from polyvae.completion.gappy_pca import GappyPCA, best_rank
from polyvae.completion.predictive import Completer
from polyvae.model.families.pixels import Bernoulli, DiscretisedLogistic
from polyvae.model.families.real import PixelNormal
from polyvae.model.laws import value_log_prob
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.vae import VAE, Conditional, Family, Head
from polyvae.observe.masks import SparsePixels, sparse
from polyvae.observe.transforms import OneHot, chain
from polyvae.recipes import Recipe

SHAPE = (1, 2, 3)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Around(nn.Module):
    """N(net(value), 0.3^2) of a vector."""

    def __init__(self, net: nn.Module, given: str) -> None:
        super().__init__()
        self.net, self.given = net, (given,)

    def forward(self, values: pv.Values) -> Independent:
        loc = self.net(values[self.given[0]].flatten(1))
        return Independent(Normal(loc, torch.full_like(loc, 0.3)), 1)


class Sum(nn.Module):
    """A linear map of each input, added: [B, ...] ... -> [B, *output]."""

    def __init__(self, sizes: list[int], output: tuple[int, ...], seed: int = 0) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(size, torch.Size(output).numel(), bias=False) for size in sizes)
        self.output = output
        for number, layer in enumerate(self.maps):
            weight = layer.weight  # pyright: ignore
            weight.data = random(*weight.shape, seed=seed + number)  # pyright: ignore

    def forward(self, *tensors: Tensor) -> Tensor:
        made = [layer(tensor.flatten(1)) for layer, tensor in zip(self.maps, tensors, strict=True)]
        return torch.stack(made).sum(0).unflatten(1, self.output)


SEEN = 2 * 6  # of an observation


def encoder() -> Around:
    return Around(Sum([6], (2,), seed=5), "x")


def decoder(*given: str, family: Family | None = None, shape: tuple[int, ...] = SHAPE) -> Conditional:
    sizes = {"z": 2, "m": SEEN, "y": 3}
    family = family or PixelNormal(0.5)
    return Conditional(Sum([sizes[name] for name in given], (family.size(shape[0]), *shape[1:])), family, given)


def semi_conditional(family: Family | None = None) -> VAE:
    """p(z) = N(0, I), x = A z + B m and noise of deviation 1/2."""
    return VAE(encoder(), StandardNormal(2), decoder("z", "m", family=family))


def data(count: int = 5, points: int = 2) -> tuple[Tensor, Tensor]:
    order = random(count, 6, seed=1).argsort(1).argsort(1)
    return random(count, *SHAPE), (order < points).view(count, *SHAPE)


def close(found: Tensor, expected: Tensor, tolerance: float) -> bool:
    return bool(((found - expected).abs() < tolerance).all())


def maps(model: VAE) -> list[Tensor]:
    return [layer.weight.data for layer in model.heads["x"].likelihood.net.maps]  # pyright: ignore


def test_from_the_observation_alone_z_is_drawn_from_the_prior() -> None:
    model = semi_conditional()
    x, mask = data()
    found = pv.complete(model, x, mask, draws=20_000)
    a, b = maps(model)
    expected = sparse(x, mask).flatten(1) @ b.T
    variance = a.square().sum(1) + 0.25
    assert close(found.mean.flatten(1), expected, 5 * float(variance.max().sqrt()) / sqrt(20_000))
    assert close(found.std.flatten(1) / variance.sqrt(), torch.ones(()), 0.03)
    spread = found.quantile(0.95) - found.quantile(0.05)
    assert close(spread.flatten(1) / (2 * 1.6449 * variance.sqrt()), torch.ones(()), 0.05)
    assert close(found.quantile(0.5), found.mean, 0.1)
    assert found.effective.tolist() == [20_000] * 5


def test_from_x_and_the_observation_z_is_drawn_from_the_posterior() -> None:
    model = semi_conditional()
    x, mask = data()
    found = pv.complete(model, x, mask, draws=20_000, use_x=True)
    a, b = maps(model)
    code = model.encode({"x": x})["z"].mean
    expected = code @ a.T + sparse(x, mask).flatten(1) @ b.T
    variance = 0.09 * a.square().sum(1) + 0.25
    assert close(found.mean.flatten(1), expected, 0.05)
    assert close(found.std.flatten(1) / variance.sqrt(), torch.ones(()), 0.03)


def test_a_prior_that_reads_the_observation_places_z() -> None:
    prior = Around(Sum([SEEN], (2,), seed=9), "m")
    model = VAE(encoder(), prior, decoder("z"))
    x, mask = data()
    found = pv.complete(model, x, mask, draws=20_000)
    (a,) = maps(model)
    expected = prior.net(sparse(x, mask).flatten(1)).detach() @ a.T
    assert close(found.mean.flatten(1), expected, 0.05)
    assert close(found.std.flatten(1) / (0.09 * a.square().sum(1) + 0.25).sqrt(), torch.ones(()), 0.03)


@pytest.mark.parametrize("conditioned", [False, True])
def test_weighed_by_what_is_seen_a_linear_model_conditions_as_a_normal_does(conditioned: bool) -> None:
    model = semi_conditional() if conditioned else VAE(encoder(), StandardNormal(2), decoder("z"))
    x, mask = data(3, points=3)
    found = pv.complete(model, torch.where(mask, x, torch.nan), mask, draws=40_000, candidates=40_000, weigh="seen")
    a, *others = maps(model)
    centre = sparse(x, mask).flatten(1) @ others[0].T if others else torch.zeros(3, 6)
    for row in range(3):
        seen = mask[row].flatten()
        rest = x[row].flatten()[seen] - centre[row][seen]
        precision = torch.eye(2) + a[seen].T @ a[seen] / 0.25
        code = torch.linalg.solve(precision, a[seen].T @ rest / 0.25)
        variance = (a @ torch.linalg.inv(precision) @ a.T).diagonal() + 0.25
        assert float(found.effective[row]) < 20_000
        tolerance = 6 * float(variance.sqrt().max()) / sqrt(float(found.effective[row]))
        assert close(found.mean[row].flatten(), centre[row] + a @ code, tolerance)
        assert close(found.std[row].flatten() / variance.sqrt(), torch.ones(()), 0.1)


def test_more_candidates_leave_more_to_draw_from() -> None:
    model = semi_conditional()
    x, mask = data(20, points=4)
    few, usual, many = (
        pv.complete(model, x, mask, weigh="seen", candidates=number).effective for number in (100, None, 10_000)
    )
    assert bool((few <= 100).all())
    assert bool((few >= 1 - 1e-5).all())
    ratios = [float(other.mean() / few.mean()) for other in (usual, many)]
    assert 5 < ratios[0] < 20
    assert 50 < ratios[1] < 200


def test_latents_come_from_one_of_three_places() -> None:
    with pytest.raises(ValueError, match="one of prior, weighed, posterior; got 'z'"):
        Completer(latents="z")


def test_samples_are_expected_pictures_and_with_pixels_draws_of_the_likelihood() -> None:
    model = semi_conditional()
    x, mask = data()
    plain, drawn = (pv.complete(model, x, mask, draws=3000, pixels=pixels) for pixels in (False, True))
    assert plain.samples.shape == (3000, 5, *SHAPE)
    torch.testing.assert_close(plain.samples.mean(0), plain.mean)
    noise = drawn.samples - plain.samples  # the same z, by the same seed
    assert noise.std().item() == pytest.approx(0.5, rel=0.02)
    torch.testing.assert_close(drawn.quantiles, plain.quantiles)
    assert pv.complete(model, x, mask, draws=9, keep=2).samples.shape == (2, 5, *SHAPE)


def test_without_noise_the_spread_is_that_of_z() -> None:
    model = semi_conditional()
    x, mask = data()
    found = pv.complete(model, x, mask, draws=5000, noise=False)
    torch.testing.assert_close(found.std, found.samples.std(0))
    expected = torch.quantile(found.samples, 0.05, dim=0)
    assert close(found.quantile(0.05), expected, 0.02)


def test_a_mixture_of_bits_has_the_variance_of_a_bit_and_quantiles_of_bits() -> None:
    x, mask = data()
    found = pv.complete(semi_conditional(Bernoulli()), x.sigmoid(), mask, draws=4000)
    torch.testing.assert_close(found.std, (found.mean * (1 - found.mean)).sqrt(), rtol=2e-3, atol=0)
    assert set(found.quantiles.unique().tolist()) == {0.0, 1.0}


def test_a_likelihood_without_a_variance_says_it_by_its_draws() -> None:
    x, mask = data()
    found = pv.complete(semi_conditional(DiscretisedLogistic(17)), x.sigmoid(), mask, draws=8000, pixels=True)
    assert close(found.std, found.samples.std(0), 0.01)


def test_the_head_that_reads_the_observation_predicts_unless_another_is_named() -> None:
    heads = {"x": Head(decoder("z")), "x_given_m": Head(decoder("z", "m"))}
    model = VAE(encoder(), StandardNormal(2), heads)
    alone = VAE(encoder(), StandardNormal(2), heads["x_given_m"].likelihood)
    x, mask = data()
    torch.testing.assert_close(pv.complete(model, x, mask).mean, pv.complete(alone, x, mask).mean)
    plain = pv.complete(model, x, mask, head="x", use_x=True, draws=3000)
    empty = pv.complete(model, x, torch.zeros(1, *SHAPE), head="x", use_x=True, draws=3000)
    torch.testing.assert_close(plain.mean, empty.mean)  # it does not see the mask


def test_labels_reach_the_model_through_its_own_transform() -> None:
    model = VAE(encoder(), StandardNormal(2), decoder("z", "m", "y"))
    recipe = Recipe(model, nn.Module(), chain(OneHot("y", 3), SparsePixels()))
    x, mask = data()
    y = torch.arange(5) % 3
    found = pv.complete(recipe, x, mask, draws=5000, given={"y": y})
    _, b, c = maps(model)
    assert close(found.mean.flatten(1), sparse(x, mask).flatten(1) @ b.T + c.T[y], 0.2)
    with pytest.raises(ValueError, match=r"also reads \['y'\]; give them, as given=\{'y': ...\}"):
        pv.complete(recipe, x, mask)
    with pytest.raises(ValueError, match=r"x holds 5 examples; got \{'y': 2\}"):
        pv.complete(recipe, x, mask, given={"y": y[:2]})


def test_the_masks_of_a_recipe_are_not_drawn_but_the_given_one_is_taken() -> None:
    model = semi_conditional()
    x, mask = data()
    for recipe in (Recipe(model, nn.Module(), SparsePixels()), Recipe(model, nn.Module(), chain(SparsePixels()))):
        torch.testing.assert_close(pv.complete(recipe, x, mask).mean, pv.complete(model, x, mask).mean)


def test_tables_bytes_and_one_mask_for_all() -> None:
    table = VAE(Around(Sum([6], (2,)), "x"), StandardNormal(2), decoder("z", "m", shape=(6,)))
    x, mask = data()
    found = pv.complete(table, x.flatten(1), mask[:1].flatten(1))
    assert found.mean.shape == (5, 6)
    torch.testing.assert_close(found.mean, pv.complete(table, x.flatten(1), mask[:1].flatten(1).expand(5, 6)).mean)
    levels = torch.randint(0, 256, (5, *SHAPE), dtype=torch.uint8)
    model = semi_conditional()
    torch.testing.assert_close(pv.complete(model, levels, mask).mean, pv.complete(model, levels / 255, mask).mean)


def test_what_is_not_seen_does_not_matter_and_may_be_no_number() -> None:
    x, mask = data()
    model = semi_conditional()
    for weigh in ("none", "seen"):
        found = [
            pv.complete(model, torch.where(mask, x, value), mask, weigh=weigh)
            for value in (0.0, 7.0, torch.nan, torch.inf)
        ]
        assert all(torch.equal(found[0].quantiles, other.quantiles) for other in found[1:])


def test_nothing_depends_on_chunks_but_for_noise_nor_touches_the_global_generator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = semi_conditional()
    x, mask = random(230, *SHAPE), data(230)[1]
    torch.manual_seed(3)
    before = torch.get_rng_state()
    whole, again = pv.complete(model, x, mask), pv.complete(model, x, mask)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(whole.quantiles, again.quantiles)
    assert not torch.equal(whole.mean, pv.complete(model, x, mask, seed=1).mean)
    assert torch.equal(whole.std[100:200], pv.complete(model, x[:200], mask[:200]).std[100:])
    # Chunks of 8 values: a draw of one example at a time, ten examples' draws held at once.
    monkeypatch.setattr("polyvae.evaluation.bounds._CPU_VALUES", 750)
    pieces = pv.complete(model, x, mask, draws=100)
    assert pieces.mean.shape == whole.mean.shape
    assert close(pieces.mean, whole.mean, 1.5)
    assert pieces.samples.shape == whole.samples.shape


def test_results_hold_no_gradient_and_the_model_is_left_as_it_was() -> None:
    model = semi_conditional().train()
    x, mask = data()
    found = pv.complete(model, x, mask)
    assert model.training
    assert not found.mean.requires_grad
    found.mean.add_(1)  # and may be changed


def test_every_likelihood_scores_its_values_one_by_one() -> None:
    raw, x = random(4, 2, 2, 3), random(4, 1, 2, 3, seed=1).sigmoid()
    for family in (
        Bernoulli(),
        PixelNormal(0.5),
        PixelNormal("learned"),
        PixelNormal("optimal"),
        DiscretisedLogistic(9),
    ):
        law = family.eval()(raw[:, : family.size(1)])
        value = (x * 8).round() / 8
        torch.testing.assert_close(value_log_prob(law, value).flatten(1).sum(1), law.log_prob(value))
    with pytest.raises(ValueError, match="need a likelihood of independent values"):
        value_log_prob(torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2)), torch.zeros(2))


def test_a_model_that_sees_nothing_is_refused_with_what_to_do() -> None:
    plain = VAE(encoder(), StandardNormal(2), decoder("z"))
    x, mask = data()
    with pytest.raises(ValueError, match=r"neither prior nor likelihood .* Take weigh='seen'"):
        pv.complete(plain, x, mask)
    with pytest.raises(ValueError, match="it would only reconstruct x, whatever is seen"):
        pv.complete(plain, x, mask, use_x=True)
    found = pv.complete(plain, x, mask, use_x=True, head="x", draws=3000)
    assert close(found.mean, plain.reconstruct({"x": x})["x"].mean.detach(), 0.1)


BAD = {
    "x of other dimensions": ({"x": torch.zeros(5, 6, 7)}, r"\[N, C, H, W\] or \[N, d\]"),
    "no examples": ({"x": torch.zeros(0, *SHAPE)}, "at least one"),
    "a mask of each channel": ({"mask": torch.ones(5, 2, 2, 3)}, r"mask is \[5 or 1, 1, 2, 3\] .* got \[5, 2, 2, 3\]"),
    "a mask of other sides": ({"mask": torch.ones(5, 1, 3, 2)}, r"got \[5, 1, 3, 2\]"),
    "a mask of other examples": ({"mask": torch.ones(4, *SHAPE)}, r"got \[4, 1, 2, 3\]"),
    "a mask without examples": ({"mask": torch.ones(2, 3)}, r"got \[2, 3\]"),
    "a mask of shares": ({"mask": torch.full((5, *SHAPE), 0.5)}, "it holds other numbers"),
    "a mask that is no number": ({"mask": torch.full((5, *SHAPE), torch.nan)}, "it holds other numbers"),
    "NaN that is seen": ({"x": torch.full((5, *SHAPE), torch.nan)}, "10 seen values of x are not finite"),
    "NaN the posterior reads": (
        {"x": torch.full((5, *SHAPE), torch.nan), "mask": torch.zeros(1, *SHAPE), "use_x": True},
        "the posterior reads all of x",
    ),
    "no draws": ({"draws": 0}, "at least 1; got 0"),
    "a quantile in per cent": ({"quantiles": (0.5, 95)}, r"between 0 and 1; got \[95\]"),
    "no candidates": ({"weigh": "seen", "candidates": 0}, "candidates counts draws .* got 0"),
    "candidates for nothing": ({"candidates": 5}, "without weights there are none"),
    "another weighing": ({"weigh": "all"}, "weigh is one of none, seen; got 'all'"),
    "weights of a posterior": ({"weigh": "seen", "use_x": True}, "they come from the posterior"),
    "another head": ({"head": "y"}, r"a head of the model is one of x; got 'y'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_by_name(case: str) -> None:
    x, mask = data()
    changed, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        pv.complete(semi_conditional(), **{"x": x, "mask": mask, **changed})


def test_a_quantile_that_was_not_asked_for_is_refused() -> None:
    x, mask = data()
    with pytest.raises(ValueError, match=r"those of 0\.05, 0\.5, 0\.95; got 0\.1"):
        pv.complete(semi_conditional(), x, mask).quantile(0.1)
    assert pv.complete(semi_conditional(), x, mask, quantiles=()).quantiles.shape == (0, 5, *SHAPE)


def test_a_model_of_something_else_is_refused() -> None:
    model = VAE(encoder(), StandardNormal(2), {"y": Head(decoder("z"), of="y")})
    with pytest.raises(ValueError, match=r"no head of this model explains 'x'; its heads are \['y'\]"):
        Completer().head_of(model)


def test_settings_are_named_and_unknown_ones_refused() -> None:
    x, mask = data()
    with pytest.raises(TypeError, match="no setting is named 'quantile'; did you mean quantiles"):
        pv.complete(semi_conditional(), x, mask, quantile=0.5)
    with pytest.raises(ValueError, match="keep is a whole number of at least 0; got -1"):
        pv.complete(semi_conditional(), x, mask, keep=-1)


def test_baselines_are_those_that_the_values_admit() -> None:
    pictures, held = random(6, 1, 4, 4), random(9, 1, 4, 4, seed=1)
    basis = GappyPCA(3).fit(random(20, 1, 4, 4, seed=2))
    seen = torch.zeros(9, 1, 4, 4)
    seen[:, :, ::2] = 1
    found = {each.name: each for each in baselines(pictures, basis, {"x": held, "seen": seen})}
    assert list(found) == ["nearest", "linear", "gappy PCA"]
    assert [each.name for each in baselines(pictures)] == ["nearest", "linear"]
    assert [each.name for each in baselines(pictures.flatten(1))] == []
    best = best_rank(basis, held, seen)
    assert found["gappy PCA"].rank == best.rank
    torch.testing.assert_close(found["gappy PCA"].complete(pictures, seen[:6]), best.complete(pictures, seen[:6]))
    nothing = torch.zeros(6, 1, 4, 4)
    torch.testing.assert_close(found["linear"].complete(pictures, nothing)[0].double(), basis.mean.view(1, 4, 4))


def test_what_no_candidate_explains_is_refused_by_name() -> None:
    narrow = VAE(encoder(), StandardNormal(2), decoder("z", family=PixelNormal(1e-20)))  # errors overflow their squares
    x, mask = data()
    with pytest.raises(ValueError, match="no finite likelihood at any of its candidates"):
        pv.complete(narrow, 1e3 * x, mask, weigh="seen")
