"""Gaussian processes: the dense formula, refitting without a fold, units, sharing, saving."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor

from polyvae.model.processes import AT_ONCE, Processes, Sharing


def draws(rows: int = 24, inputs: int = 2, targets: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    v = 3 * torch.randn(rows, inputs, generator=stream, dtype=torch.float64) + 5
    y = torch.stack([(v @ torch.randn(inputs, generator=stream, dtype=v.dtype) / 3).cos() for _ in range(targets)], 1)
    return v, 2 * y + 0.2 * torch.randn(y.shape, generator=stream, dtype=v.dtype) + 7


def dense(made: Processes, v: Tensor, y: Tensor, new: Tensor, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance by the textbook's formula, from the hyperparameters alone."""
    which = made.group[made.place[target]]
    c, noise, amplitude = float(made.shape[which]), float(made.noise[target]), float(made.amplitude[target])

    def h(a: Tensor, b: Tensor) -> np.ndarray:
        apart = (a[:, None] - b[None]).numpy() / (made.scale * made.lengths[which]).numpy()
        return np.exp(-c * np.log1p((apart**2).sum(2) / (2 * c)))

    covariance = amplitude * (h(v, v) + noise * np.eye(len(v)))
    across = amplitude * h(new, v)
    mean = made.mean[target].item() + across @ np.linalg.solve(covariance, (y[:, target] - made.mean[target]).numpy())
    return mean, amplitude * (1 + noise) - (across * np.linalg.solve(covariance, across.T).T).sum(1)


@pytest.mark.parametrize("sharing", [None, Sharing.of(3, 2), Sharing.of(3, 1, noise=True)])
def test_mean_and_variance_are_those_of_the_dense_formula(sharing: Sharing | None) -> None:
    v, y = draws()
    made, new = Processes().fit(v, y, sharing), draws(9, seed=1)[0]
    mean, variance = made(new)
    for target in range(3):
        expected = dense(made, v, y, new, target)
        assert np.allclose(mean[:, target], expected[0], rtol=1e-7)
        assert np.allclose(variance[:, target], expected[1], rtol=1e-6)
        noise = float(made.noise[target])
        assert (variance[:, target] >= made.amplitude[target] * noise * (1 - 1e-9)).all()


def test_many_rows_are_told_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    v, y = draws()
    made, new = Processes().fit(v, y), draws(50, seed=1)[0]
    whole = made(new)
    monkeypatch.setattr("polyvae.model.processes.AT_ONCE", 24 * 7)
    parts = made(new)
    assert AT_ONCE > 24 * 50
    assert all(torch.allclose(a, b, rtol=1e-9) for a, b in zip(whole, parts, strict=True))
    assert made(new[:0])[0].shape == (0, 3)


def test_the_amplitude_is_the_likeliest() -> None:
    v, y = draws()
    made = Processes().fit(v, y)
    scaled = (v - made.centre) / made.scale / made.lengths[0]
    square = torch.cdist(scaled, scaled).square()
    h = (1 + square / (2 * made.shape[0])) ** -made.shape[0] + made.noise[0] * torch.eye(24)
    centred = y - y.mean(0)
    assert made.amplitude[0] == pytest.approx(
        float(centred[:, 0] @ torch.linalg.solve(h, centred[:, 0]) / 24), rel=1e-5
    )


@pytest.mark.parametrize("folds", [4, 7, 24, 40])
def test_what_is_left_out_is_as_by_a_fit_to_the_rest(folds: int) -> None:
    v, y = draws()
    made = Processes().fit(v, y, Sharing.of(3, 2))
    error, variance = made.left_out(folds)
    fold = np.arange(24) * folds // 24
    for each in np.unique(fold):
        held, rest = fold == each, fold != each
        for target in range(3):
            mean, spread = dense(made, v[rest], y[rest], v[held], target)
            assert np.allclose(error[held, target], y[held, target].numpy() - mean, atol=1e-7)
            assert np.allclose(variance[held, target], spread, rtol=1e-6)


def test_units_of_inputs_and_targets_do_not_matter() -> None:
    v, y = draws()
    new = draws(6, seed=1)[0]
    mean, variance = Processes().fit(v, y)(new)
    other = Processes().fit(1e4 * v - 3, 1e-5 * y)(1e4 * new - 3)
    assert torch.allclose(other[0], 1e-5 * mean, rtol=1e-6)
    assert torch.allclose(other[1], 1e-10 * variance, rtol=1e-6, atol=0)


def test_with_a_group_for_each_target_fits_are_separate() -> None:
    v, y = draws()
    new = draws(6, seed=1)[0]
    together = Processes().fit(v, y, Sharing.of(3, 1))(new)
    for target in range(3):
        alone = Processes().fit(v, y[:, target : target + 1])(new)
        assert all(torch.allclose(a[:, target], b[:, 0]) for a, b in zip(together, alone, strict=True))


def test_groups_of_neighbours_grow() -> None:
    assert Sharing.of(10, 4).ends == (0, 4, 8, 10)
    assert Sharing.of(50, 8, growth=4).ends == (0, 8, 40, 50)
    assert Sharing.of(3, 3).ends == (0, 3)


def test_smooth_targets_without_noise_are_told_to_six_digits() -> None:
    v = torch.linspace(0, 6.2, 40, dtype=torch.float64)[:, None]
    made, new = Processes().fit(v, v.sin()), torch.linspace(0.1, 6, 33, dtype=torch.float64)[:, None]
    mean, variance = made(new)
    assert (mean - new.sin()).abs().max() < 1e-6
    assert variance.max() < 1e-8


def test_examples_that_stand_twice_have_a_factor() -> None:
    v = torch.linspace(0, 6.2, 30, dtype=torch.float64)[:, None].repeat(5, 1)
    made = Processes().fit(v, torch.cat([v.sin(), v * 0], 1))
    mean, variance = made(v[:5])
    assert torch.allclose(mean, torch.cat([v[:5].sin(), v[:5] * 0], 1), atol=1e-5)
    assert (variance >= 0).all()
    assert variance[:, 1].max() < 1e-200


def test_an_input_that_never_varies_tells_nothing() -> None:
    v, y = draws()
    new = draws(6, seed=1)[0]
    mean, _ = Processes().fit(v, y)(new)
    more, other = torch.full((24, 1), 3.0), torch.full((6, 1), 3.0)
    again, variance = Processes().fit(torch.cat([v, more], 1), y)(torch.cat([new, other], 1))
    assert variance.isfinite().all()
    assert (again - mean).square().mean() < 0.05 * y.var()


def test_a_state_of_another_size_is_loaded_and_copied() -> None:
    v, y = draws()
    made, new = Processes().fit(v, y, Sharing.of(3, 2)), draws(6, seed=1)[0]
    other = Processes().fit(*draws(9, 1, 2))
    other.load_state_dict(made.state_dict())
    for each in (other, deepcopy(made), deepcopy(made).half().float(), deepcopy(made).to(torch.bfloat16)):
        assert each.inputs.dtype == torch.float64
        assert all(torch.equal(a, b) for a, b in zip(each(new), made(new), strict=True))
    assert other.place.dtype == torch.int64
    empty = Processes()
    empty.load_state_dict(Processes().state_dict())
    assert repr(made) == "Processes(examples=24, inputs=2, targets=3)"


def test_what_it_cannot_do_is_refused() -> None:
    v, y = draws()
    with pytest.raises(RuntimeError, match=r"not fitted; polyvae\.fit"):
        Processes()(v)
    with pytest.raises(ValueError, match=r"two examples or more; got \[1, 2\] and \[1, 3\]"):
        Processes().fit(v[:1], y[:1])
    with pytest.raises(ValueError, match="two examples"):
        Processes().fit(v, y[:-1])
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite inputs and targets"):
            Processes().fit(v, y + value)
