"""The linear baselines know columns by their own scales: as strong as the best that two lines of NumPy make."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

import polyvae as pv
from polyvae.data import Data, wrap
from polyvae.evaluation.bounds import both_bounds
from polyvae.recipes.baselines import _principal

STREAM = np.random.default_rng(0)
ROWS = STREAM.normal(size=(1000, 2)) @ STREAM.normal(size=(2, 6)) + 0.3 * STREAM.normal(size=(1000, 6))


def numpy_ppca(data: Data, logs: bool, scaled: bool) -> float:
    """log p of the validation part under PPCA of the training part, in the units of the data."""
    train, held = (part.tensors["x"].double().numpy() for part in (data.train, data.validation))
    volume = 0.0
    if logs:
        train, held, volume = np.log(train), np.log(held), np.log(held).sum(1).mean()
    mean, scale = train.mean(0), train.std(0) if scaled else np.ones(6)
    values, axes = np.linalg.eigh(np.cov(((train - mean) / scale).T, bias=True))
    noise = values[:-2].mean()
    weight = axes[:, -2:] * np.sqrt(values[-2:] - noise)
    law = multivariate_normal(np.zeros(6), weight @ weight.T + noise * np.eye(6))
    return law.logpdf((held - mean) / scale).mean() - np.log(scale).sum() - volume


def fitted(name: str, data: Data) -> pv.Run:
    return pv.fit(pv.recipes.named(name)(data.spec, latent=2), data, device="cpu", progress=False)


@pytest.mark.parametrize(
    ("rows", "kind", "scaled"),
    [
        (ROWS, "real", False),
        (ROWS * 10.0 ** np.arange(6), "real", True),
        (ROWS * 10.0 ** np.arange(6) + 1e6, "real", True),
        (ROWS + 1e6, "real", False),
        (np.exp(ROWS * [0.1, 1, 2, 0.1, 1, 2]), "positive", True),
    ],
    ids=["alike", "scales", "scales and offset", "offset", "positive"],
)
def test_trap53_probabilistic_pca_is_the_better_of_plain_and_standardised_columns(rows, kind, scaled) -> None:
    data = wrap(rows.astype(np.float32), kind=kind)
    found = both_bounds(fitted("ppca", data).recipe, data.validation, samples=20)
    torch.testing.assert_close(found.importance, found.plain, rtol=1e-2, atol=1.0)
    expected = [numpy_ppca(data, kind == "positive", which) for which in (scaled, not scaled)]
    assert float(found.importance.mean()) == pytest.approx(expected[0], abs=2e-3)
    assert expected[0] > expected[1] - 0.05


def test_mixed_columns_have_their_exact_evidence_and_errors_in_their_own_units() -> None:
    rows = ROWS * 10.0 ** np.arange(6)
    rows[:, :3] = np.exp(ROWS[:, :3])
    kind = {str(n): "positive" if n < 3 else "real" for n in range(6)}
    data = wrap(rows.astype(np.float32), kind=kind)
    run = fitted("ppca", data)
    found = both_bounds(run.recipe, data.validation, samples=3)
    torch.testing.assert_close(
        found.importance, both_bounds(run.recipe, data.validation, 50).importance, atol=2e-4, rtol=0
    )
    report = pv.evaluate(run, data.validation, samples=2)
    x = data.validation.tensors["x"]
    r = run.reconstruct(x.numpy())
    assert report["mse"] == pytest.approx(float(np.square(x.numpy() - r).mean()), rel=1e-4)
    assert report["unexplained"] < 0.4


def test_pca_explains_every_column_whatever_its_scale() -> None:
    data = wrap((ROWS * 10.0 ** np.arange(6)).astype(np.float32), kind="real")
    report = pv.evaluate(fitted("pca", data), data.validation, samples=2)
    assert report["unexplained"] < 0.25  # of all columns in the mean; 0.19 here, of which the noisiest has 0.78


@pytest.mark.parametrize("offset", [0, 1e4, 4e6])
def test_principal_components_keep_their_digits_far_from_zero(offset: float) -> None:
    rows = np.round(ROWS * 8) / 8 + offset  # exact in float32, up to 2^22
    centred = rows - rows.mean(0)
    values = np.linalg.eigvalsh(centred.T @ centred / len(rows))[::-1]
    _, _, variances, noise = _principal(torch.tensor(rows), 2)
    np.testing.assert_allclose([*variances, noise], [*values[:2], values[2:].mean()], rtol=1e-9)
