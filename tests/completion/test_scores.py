"""Errors of completions over a split: exact for a linear model, equal to the baselines' own, falling with points."""

from math import sqrt
from typing import Any

import pytest
import torch
from torch import Tensor

import polyvae as pv
from polyvae import data, recipes
from polyvae.completion import scores as completion_scores
from polyvae.completion.baselines import Learned
from polyvae.completion.completer import Completer
from polyvae.completion.gappy_pca import GappyPCA
from polyvae.completion.interpolation import interpolate
from polyvae.completion.scores import Score, score_completions
from polyvae.data.split import Split
from polyvae.model.spec import Spec
from polyvae.observe.masks import observation

SHAPE = (1, 4, 5)


def drawn(count: int, seed: int) -> Tensor:
    """Pictures of a linear model: three components and noise of deviation 0.3."""
    axes = torch.randn(3, 20, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    codes, noise = (torch.randn(count, size, generator=generator) for size in (3, 20))
    return (codes @ axes + 0.3 * noise).view(count, *SHAPE)


@pytest.fixture(scope="module")
def linear() -> recipes.Recipe:
    """Probabilistic PCA at its maximum likelihood, whose predictive law is exact when draws are weighed."""
    made = recipes.ppca(Spec(SHAPE, levels=None), latent=3)
    assert made.solve is not None
    made.solve({"x": drawn(4000, 1)})
    return made


@pytest.fixture(scope="module")
def scored(linear: recipes.Recipe) -> list[Score]:
    masks = {count: observation("uniform", count) for count in (0, 2, 5)}
    parts = [Split({"x": drawn(count, seed)}) for count, seed in ((300, 2), (1000, 3), (200, 4))]
    return score_completions(linear, parts[0], masks, Completer(200, "weighed", candidates=4000), Learned(*parts[1:]))


def of(scores: list[Score], method: str) -> dict[float, Score]:
    return {score.count: score for score in scores if score.method == method}


def test_a_model_that_is_right_covers_as_it_says_and_is_as_wrong_as_it_says(scored: list[Score]) -> None:
    axes = torch.randn(3, 20, generator=torch.Generator().manual_seed(0)).double()
    expected = {0: float(axes.square().sum(0).mean()) + 0.09}
    for count, score in of(scored, "model").items():
        assert score.points == count
        for level, share in score.unseen.coverage.items():
            # Values of one picture depend on each other by three codes: as if there were about so many of them.
            assert share == pytest.approx(level, abs=4 * sqrt(level * (1 - level) / (3 * 300)))
        assert score.unseen.mse is not None
        assert score.unseen.mse_error is not None
        if count in expected:
            assert abs(score.unseen.mse - expected[count]) < 4 * score.unseen.mse_error
            # nothing seen: all values are unseen ones
            assert score.all.mse == pytest.approx(score.unseen.mse)
        else:
            assert score.all.mse < score.unseen.mse


def test_a_model_that_is_right_has_nothing_to_gain_by_calibration(scored: list[Score]) -> None:
    for score in of(scored, "model").values():
        assert score.calibrated is not None
        assert score.calibrated.crps == pytest.approx(score.unseen.crps, rel=0.02)
        assert score.calibrated.mse == score.unseen.mse
        for level, share in score.calibrated.coverage.items():
            assert share == pytest.approx(level, abs=0.06)


def test_the_right_model_beats_every_baseline_and_all_fall_with_points(scored: list[Score]) -> None:
    model = of(scored, "model")
    for method in ("nearest", "linear", "gappy PCA"):
        for count, score in of(scored, method).items():
            assert score.unseen.coverage == {}
            if count:
                assert score.unseen.mse > model[count].unseen.mse  # pyright: ignore
                assert score.unseen.crps > model[count].unseen.crps  # pyright: ignore
    for method in ("model", "gappy PCA"):
        errors = [score.unseen.mse for score in of(scored, method).values()]
        assert errors == sorted(errors, reverse=True)


def test_held_out_errors_give_baselines_a_spread_that_covers_as_it_says(scored: list[Score]) -> None:
    model = of(scored, "model")
    for method in ("nearest", "linear", "gappy PCA"):
        for count, score in of(scored, method).items():
            assert score.calibrated is not None
            assert score.calibrated.crps < score.unseen.crps  # pyright: ignore
            assert score.calibrated.crps > 0.98 * model[count].unseen.crps  # pyright: ignore
            for level, share in score.calibrated.coverage.items():
                assert share == pytest.approx(level, abs=0.06)


def test_baselines_see_the_same_pixels_and_are_scored_by_their_own_functions(linear: recipes.Recipe) -> None:
    x, train, held = drawn(150, 2), drawn(160, 3), drawn(150, 4)
    mask = observation("grid", 4)
    found = score_completions(
        linear, Split({"x": x}), {4: mask}, Completer(10, "weighed"), Learned(Split({"x": train}), Split({"x": held}))
    )
    seen = mask.mask(x)  # a grid is the same for all
    unseen = (seen == 0).expand_as(x)
    for method in ("nearest", "linear"):
        made = interpolate(x, seen, method)
        score = of(found, method)[4]
        assert score.points == 4
        assert score.unseen.mse == pytest.approx(float((made - x)[unseen].square().mean()), rel=1e-5)
        assert score.unseen.crps == pytest.approx(float((made - x)[unseen].abs().mean()), rel=1e-5)
        assert score.all.mse == pytest.approx(float((made - x).square().mean()), rel=1e-5)
    score = of(found, "gappy PCA")[4]
    errors = {}
    for rank in range(9):
        fitted = GappyPCA(rank).fit(train)
        errors[rank] = float((fitted.complete(held, seen) - held)[unseen].square().mean())
        if rank == score.rank:
            made = fitted.complete(x, seen)
            assert score.unseen.mse == pytest.approx(float((made - x)[unseen].square().mean()), rel=1e-4)
    assert errors[score.rank or 0] == min(errors.values())


def test_with_everything_seen_nothing_is_unseen(linear: recipes.Recipe) -> None:
    split = Split({"x": drawn(20, 2)})
    for score in score_completions(
        linear, split, {20: observation("uniform", 20)}, Completer(5, "weighed"), Learned(split, split)
    ):
        assert score.unseen.mse is None
        assert score.unseen.crps is None
        assert score.calibrated is None
        assert score.all.mse is not None


def test_scores_repeat_themselves_and_say_how_far_they_are(linear: recipes.Recipe) -> None:
    masks = {count: observation("uniform", count) for count in (1, 3)}
    told: list[tuple[int, int]] = []
    split = Split({"x": drawn(130, 2)})
    found = [
        score_completions(
            linear, split, masks, Completer(8, "weighed"), progress=lambda *pair: told.append(pair), seed=seed
        )
        for seed in (0, 0, 1)
    ]
    assert found[0] == found[1]
    assert found[0] != found[2]
    assert told[:4] == [(100, 260), (130, 260), (230, 260), (260, 260)]
    assert {score.method for score in found[0]} == {"model", "nearest", "linear"}  # no train: no principal axes


def test_a_score_needs_two_draws(linear: recipes.Recipe) -> None:
    with pytest.raises(ValueError, match="at least two draws; got 1"):
        score_completions(linear, Split({"x": drawn(5, 2)}), {}, Completer(1))


@pytest.fixture(scope="module")
def digits() -> data.Data:
    return data.load("digits")


COUNTS = (1, 4, 8, 16, 32)


@pytest.mark.parametrize("name", ["semi_conditional", "arbitrary_conditioning", "vq_semi_conditional"])
def test_trained_for_seconds_what_is_seen_helps_at_every_count_and_the_more_the_better(
    name: str, digits: data.Data
) -> None:
    quantised = name.startswith("vq")
    small = (
        {"widths": (8, 16), "codes": 16, "dim": 4}
        if quantised
        else {"network": "mlp", "widths": (128,), "latent": 8, "likelihood": "bernoulli"}
    )
    made = recipes.named(name)(digits.spec, seed=0, exponent=3, decoder="flat", **small)
    run = pv.fit(made, digits, epochs=12, batch_size=64, lr=3e-3, progress=False)
    masks = {count: observation("uniform", count) for count in COUNTS}
    found = score_completions(run, digits.test, masks, Completer(30, "posterior"))
    model, blind = of(found, "model"), of(found, "without m")
    for quantity in ("mse", "crps"):
        errors = [getattr(model[count].all, quantity) for count in COUNTS]
        assert errors == sorted(errors, reverse=True)
        assert all(error < getattr(blind[count].all, quantity) for count, error in zip(COUNTS, errors, strict=True))
    if quantised:
        return  # its codes are drawn uniformly here, no match for a prior that was learned
    alone = score_completions(run, digits.test, masks, Completer(30), Learned(digits.train, digits.validation))
    assert {score.method for score in alone} == {
        "model",
        "nearest",
        "linear",
        "gappy PCA",
        "normal law",
        "normal mixture",
        "kriging",
    }
    errors = [of(alone, "model")[count].unseen.mse for count in COUNTS]
    assert errors == sorted(errors, reverse=True)
    for method in ("nearest", "linear", "gappy PCA"):
        assert all(
            score.unseen.mse > of(alone, "model")[count].unseen.mse for count, score in of(alone, method).items()
        )
    for score in of(alone, "model").values():
        assert score.calibrated is not None
        for level, share in score.calibrated.coverage.items():
            assert share == pytest.approx(level, abs=0.05)


# Under the default z knows more, and m helps a decoder that meets it in its place.
SEEING: dict[str, tuple[int, dict[str, Any]]] = {
    "bits": (40, {"network": "mlp", "widths": (128,), "likelihood": "bernoulli"}),
    "the default": (12, {"widths": (8, 16), "decoder": "multiscale"}),
}


@pytest.mark.parametrize(("epochs", "made"), SEEING.values(), ids=list(SEEING))
def test_of_two_decoders_the_one_that_sees_is_better_where_it_sees(
    epochs: int, made: dict[str, Any], digits: data.Data
) -> None:
    recipe = recipes.multitask(digits.spec, seed=0, latent=8, count=16, **made)
    run = pv.fit(recipe, digits, epochs=epochs, batch_size=64, lr=3e-3, progress=False)
    found = score_completions(run, digits.test, {16: observation("uniform", 16)}, Completer(30, "posterior"))
    assert of(found, "model")[16].all.mse < 0.97 * of(found, "without m")[16].all.mse  # pyright: ignore


def labelled(count: int) -> Split:
    """Grey pictures sorted by class, as many files are; each class is another level."""
    y = torch.arange(count) * 5 // count
    x = (0.1 + 0.2 * y).view(-1, 1, 1, 1) + 0.01 * torch.randn(
        count, *SHAPE, generator=torch.Generator().manual_seed(0)
    )
    return Split({"x": x.float(), "y": y})


def test_trap50_what_judges_and_calibrates_is_a_seeded_subset_of_a_sorted_file(
    linear: recipes.Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels: dict[str, list[Tensor]] = {"fit": [], "calibrate": []}

    def kept(name: str, function: Any, place: int) -> Any:
        def noticed(*arguments: Any, **named: Any) -> Any:
            levels[name].append(arguments[place])
            return function(*arguments, **named)

        return noticed

    monkeypatch.setattr(completion_scores, "HELD_OUT", 20)
    monkeypatch.setattr(completion_scores, "BASIS", 20)
    monkeypatch.setattr(completion_scores, "calibrate", kept("calibrate", completion_scores.calibrate, 0))
    monkeypatch.setattr(GappyPCA, "fit", kept("fit", GappyPCA.fit, 1))
    split, mask = labelled(100), {4: observation("uniform", 4)}
    for seed in (0, 1):
        score_completions(linear, split, mask, Completer(5, "weighed"), Learned(split, split), seed)
    for name, examples in levels.items():
        assert examples, name
        for x in examples:
            assert len(x) == 20
            assert set(x.flatten(1).mean(1).sub(0.1).div(0.2).round().int().tolist()) == set(range(5))
    assert not torch.equal(levels["fit"][0], levels["fit"][-1])  # another seed takes others
    same = score_completions(linear, split, mask, Completer(5, "weighed"), Learned(split, split), 1)
    assert same == score_completions(linear, split, mask, Completer(5, "weighed"), Learned(split, split), 1)


def test_trap52_coverage_is_told_of_the_values_that_vary_too(linear: recipes.Recipe) -> None:
    """Half of each picture is the same always and easily covered; the bands of the rest hold what they say."""
    parts = [Split({"x": drawn(count, seed)}) for count, seed in ((300, 2), (1000, 3), (200, 4))]
    for part in parts:
        part.tensors["x"][..., 2:] = 0.0
    found = score_completions(
        linear, parts[0], {2: observation("uniform", 2)}, Completer(50, "weighed"), Learned(*parts[1:])
    )
    for score in found:
        assert score.calibrated is not None
        for level, share in score.calibrated.varying.items():
            assert share == pytest.approx(level, abs=0.06)
    model = of(found, "model")[2]
    assert set(model.unseen.coverage) == set(model.unseen.varying)
    unseen = model.unseen.coverage[0.5], model.unseen.varying[0.5]
    assert unseen[0] > unseen[1] + 0.1  # pyright: ignore


def test_of_a_model_trained_at_zero_what_it_says_without_z_stands_beside_it() -> None:
    recipe = pv.recipes.arbitrary_conditioning(
        Spec((1, 4, 4), levels=256), direct=0.2, network="mlp", decoder="flat", widths=(8,), latent=2, seed=0
    )
    x, masks = torch.rand(30, 1, 4, 4), {3: observation("grid", 3)}
    mask = masks[3].mask(x)
    found = score_completions(recipe, Split({"x": x}), masks, Completer(6))
    assert [score.method for score in found][:2] == ["model", "without z"]
    bare = pv.complete(pv.recipes.without_latents(recipe, Spec((1, 4, 4), levels=256)), x, mask, draws=2)
    wrong = float((bare.mean - x)[(mask == 0).expand_as(x)].square().mean())
    assert of(found, "without z")[3].unseen.mse == pytest.approx(wrong, rel=1e-5)
    assert of(found, "model")[3].unseen.mse != of(found, "without z")[3].unseen.mse
    (alone,) = Completer(6, "none").predict(recipe.model, recipe.observe({"x": x}))
    assert torch.equal(alone.means, alone.means[:1].expand(6, -1, -1, -1, -1))
    assert len(alone.draws.unique(dim=0)) == 6
    plain = pv.recipes.arbitrary_conditioning(Spec((1, 4, 4), levels=256), network="mlp", decoder="flat", latent=2)
    assert "without z" not in {each.method for each in score_completions(plain, Split({"x": x}), masks, Completer(6))}
    with pytest.raises(ValueError, match="no head of this model is trained at z = 0"):
        Completer(6, "none").head_of(plain.model)
