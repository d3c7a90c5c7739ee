"""Problems with several solutions, and what is said of draws: the known solutions themselves score full marks."""

import numpy as np
import pytest
import torch

from polyvae import data
from polyvae.data.sources.inverse import ARM, PROBLEMS, RAIL, inverse
from polyvae.evaluation.inverse import discrepancy, rejected, solved

KNOWN = [name for name, problem in PROBLEMS.items() if problem.solutions is not None]


@pytest.mark.parametrize("name", PROBLEMS)
def test_pairs_are_the_function_at_x_and_repeat_by_seed(name: str) -> None:
    x, y = inverse(name, 500, seed=3, noise=0.0)
    assert np.allclose(PROBLEMS[name].function(x.astype(np.float64)), y, atol=1e-5)
    again, other = inverse(name, 500, seed=3)[0], inverse(name, 500, seed=4)[0]
    assert np.array_equal(x, again)
    assert not np.array_equal(x, other)
    loaded = data.load(name, limit=80)
    assert (loaded.spec.x, loaded.spec.condition) == (x.shape[1:], y.shape[1:])


@pytest.mark.parametrize("name", KNOWN)
def test_the_known_solutions_solve_hold_the_drawn_one_and_are_as_likely_as_each_other(name: str) -> None:
    x = PROBLEMS[name].draw(4000, np.random.default_rng(0))
    y = PROBLEMS[name].function(x)
    roots = PROBLEMS[name].solutions(y)  # pyright: ignore[reportOptionalCall]
    for root in roots.transpose(1, 0, 2):
        assert np.allclose(PROBLEMS[name].function(root), y)
    apart = np.linalg.norm(roots - x[:, None], axis=2)
    assert np.allclose(apart.min(1), 0, atol=1e-6)
    assert (apart.argmin(1) == 0).mean() == pytest.approx(0.5, abs=0.03)


def test_the_arms_end_where_their_joints_say() -> None:
    straight = PROBLEMS["arm"].function(np.array([[0.25, 0.0, 0.0, 0.0]]))
    assert np.allclose(straight, [[0.25, sum(RAIL)]])
    turned = PROBLEMS["arm"].function(np.array([[0.0, np.pi / 2, np.pi / 2, np.pi]]))
    assert np.allclose(turned, [[0.5, 1.5]])  # the first joint to the side, the others back to where they were
    assert np.allclose(PROBLEMS["two_joints"].function(np.array([[np.pi / 2, -np.pi / 2]])), [[ARM[1], ARM[0]]])


def test_draws_at_the_solutions_solve_all_and_draws_at_one_cover_none() -> None:
    y = np.array([[1.0], [4.0]])
    both = np.array([[[1.0], [-1.0], [1.0], [-1.0]], [[2.0], [2.0], [2.0], [-2.0]]])
    found = solved(PROBLEMS["quadratic"], both, y, 0.01)
    assert (found.solving, found.covered) == (1.0, 1.0)
    assert found.shares is not None
    assert found.shares.tolist() == [[0.5, 0.5], [0.75, 0.25]]
    assert found.imbalance == pytest.approx(0.125)
    one = solved(PROBLEMS["quadratic"], np.abs(both), y, 0.01)
    assert (one.solving, one.covered, one.imbalance) == (1.0, 0.0, 0.5)
    mean = solved(PROBLEMS["quadratic"], both * 0, y, 0.01)
    assert (mean.solving, mean.covered, mean.imbalance) == (0.0, 0.0, 1.0)
    assert solved(PROBLEMS["circle"], np.ones((1, 2, 2)), np.array([[2.0]]), 0.1).covered is None
    with pytest.raises(ValueError, match=r"draws are \[Q, K, d\]"):
        solved(PROBLEMS["quadratic"], both[0], y, 0.01)


def test_draws_by_rejection_lie_on_the_solutions_and_their_discrepancy_is_small() -> None:
    y = np.array([[1.0], [2.0]])
    x, other = (rejected(PROBLEMS["circle"], y, 400, 0.05, seed=seed) for seed in (0, 1))
    assert np.abs((x**2).sum(2) - y).max() <= 0.05
    turned = np.arctan2(x[0, :, 1], x[0, :, 0])
    assert abs(np.exp(1j * turned).mean()) < 0.15
    assert abs(discrepancy(x[0], other[0])) < 0.01
    half = x[0][x[0, :, 0] > 0]
    assert discrepancy(half, other[0]) > 0.1
    with pytest.raises(ValueError, match=r"0 of ten million draws are within 0\.1 of \[500\.0\]"):
        rejected(PROBLEMS["quadratic"], np.array([[500.0]]), 10, 0.1)


def test_a_short_run_of_a_cvae_finds_both_roots() -> None:
    import polyvae as pv

    found = pv.data.load("quadratic", limit=2000)
    made = pv.recipes.cvae(found, latent=2, network="mlp", widths=(64, 64), seed=0)
    run = pv.fit(made, found, epochs=15, batch_size=64, lr=3e-3, schedule="cosine", seed=0, progress=False)
    y = torch.linspace(0.3, 3.5, 50)[:, None]
    x = run.sample(100, y=y).unflatten(0, (100, 50)).movedim(0, 1)
    judged = solved(PROBLEMS["quadratic"], x.double().numpy(), y.double().numpy(), 0.3)
    assert judged.covered is not None
    assert judged.covered >= 0.95
    assert judged.solving >= 0.6
