"""Missing values filled in: a linear model whose conditional law is known, and frames that come back as they were."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal

import polyvae as pv
from polyvae.completion import imputed, missing_scores
from polyvae.data.split import Split

W = torch.tensor([[1.0, 0.0], [0.8, 0.6], [-0.5, 1.0], [0.3, -0.9]], dtype=torch.float64)
B = torch.tensor([0.5, -1.0, 2.0, 0.0], dtype=torch.float64)
S = 0.5
COVARIANCE = W @ W.T + S**2 * torch.eye(4, dtype=torch.float64)


class Linear(nn.Module):
    given = ("z",)

    def forward(self, values):
        return Independent(Normal(values["z"] @ W.T + B, torch.tensor(S, dtype=torch.float64)), 1)


class Wide(nn.Module):
    """A posterior that knows nothing of x, so that the weights have all to do."""

    given = ("x", "seen")

    def forward(self, values):
        zeros = torch.zeros(len(values["x"]), 2, dtype=torch.float64)
        return Independent(Normal(zeros, zeros + 1.3), 1)


class Prior(nn.Module):
    def forward(self, values):
        return MultivariateNormal(torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64))


MODEL = pv.VAE(Wide(), Prior(), {"x": pv.Head(Linear(), where="seen")})
SEEN = torch.tensor([[1, 0, 1, 0], [0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]], dtype=torch.bool)
X = torch.tensor(
    [[1.2, 0.1, 2.5, 0.4], [0.0, -1.2, 1.0, 0.8], [1.0, -0.5, 2.0, 0.1], [0, 0, 0, 0]], dtype=torch.float64
)


def conditional(row: int) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the missing values of a row given those that are seen."""
    o, m = SEEN[row], ~SEEN[row]
    gain = COVARIANCE[m][:, o] @ torch.linalg.inv(COVARIANCE[o][:, o])
    return B[m] + gain @ (X[row, o] - B[o]), COVARIANCE[m][:, m] - gain @ COVARIANCE[o][:, m]


def filled(samples: int, draws: int = 0, rows: Tensor | None = None, seed: int = 0) -> dict[str, Tensor]:
    rows = torch.arange(4) if rows is None else rows
    return imputed(MODEL, Split({"x": X[rows], "seen": SEEN[rows]}), samples, draws, seed)


def test_the_expected_values_come_to_the_conditional_mean_with_k() -> None:
    errors = []
    for samples in (10, 1000, 200_000):
        found = filled(samples)["expected"]
        assert torch.equal(found[SEEN], X[SEEN])
        errors.append(max(float((found[n, ~SEEN[n]] - conditional(n)[0]).abs().max()) for n in (0, 1, 3)))
    assert errors[2] < 0.01
    assert errors[2] < errors[1] < errors[0]


def test_multiple_imputations_have_the_conditional_mean_and_covariance() -> None:
    many = torch.zeros(50, dtype=torch.int64)  # one row, 50 times: each with weights and draws of its own
    drawn = filled(1000, 200, many)["draws"]
    assert torch.equal(drawn[..., SEEN[0]], X[0, SEEN[0]].expand(50, 200, 2))
    values = drawn[..., ~SEEN[0]].flatten(0, 1)
    mean, covariance = conditional(0)
    assert torch.allclose(values.mean(0), mean, atol=0.03)
    assert torch.allclose(values.T.cov(), covariance, atol=0.03)


def test_draws_without_their_weights_would_be_wrong() -> None:
    """The same draws of z, not weighed, have the mean and the spread of the proposal: the test above tells."""
    z = 1.3 * torch.randn(10_000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = (z @ W.T + B)[:, ~SEEN[0]]
    assert (values.mean(0) - conditional(0)[0]).abs().max() > 0.3


def test_scores_of_missing_values_are_their_conditional_densities() -> None:
    found = missing_scores(MODEL, Split({"x": X, "seen": SEEN}), X, 100_000)
    assert found.isnan().equal(SEEN)
    for row in (0, 1, 3):
        mean, covariance = conditional(row)
        law = Normal(mean, covariance.diagonal().sqrt())
        assert torch.allclose(found[row, ~SEEN[row]], law.log_prob(X[row, ~SEEN[row]]), atol=0.02)


def test_a_value_far_from_every_draw_has_a_finite_score(monkeypatch: pytest.MonkeyPatch) -> None:
    far = X + 60.0
    exact = []
    for row in (0, 1, 3):  # -1,000 nats and less, of which no density is above zero
        mean, covariance = conditional(row)
        exact.append(Normal(mean, covariance.diagonal().sqrt()).log_prob(far[row, ~SEEN[row]]))
    for pieces in (False, True):
        if pieces:
            monkeypatch.setattr("polyvae.evaluation.bounds._CPU_VALUES", 16 * 700)
        found = missing_scores(MODEL, Split({"x": X, "seen": SEEN}), far, 3000)[~SEEN]
        assert found.isfinite().all()
        assert (found < -745).all()
        assert (found <= torch.cat(exact) + 1).all()  # the nearest of the draws is not near enough


def test_pieces_of_the_draws_weigh_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = filled(3000, 5)
    monkeypatch.setattr("polyvae.evaluation.bounds._CPU_VALUES", 16 * 700)
    pieces = filled(3000, 5)
    assert pieces["draws"].shape == whole["draws"].shape == (4, 5, 4)
    assert torch.allclose(pieces["expected"], whole["expected"], atol=0.15)
    assert torch.allclose(pieces["effective"], whole["effective"], rtol=0.3)
    assert torch.equal(filled(3000, 5)["draws"], pieces["draws"])  # the same at every call


def people(count: int = 150) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    kind = rng.choice(["low", "high"], count)
    frame = pd.DataFrame(
        {
            "size": (np.where(kind == "high", 6.0, 2.0) + rng.normal(0, 0.5, count)).astype(np.float32),
            "count": rng.poisson(np.where(kind == "high", 40, 15)),
            "kind": pd.Categorical(kind),
            "grade": pd.Categorical(rng.choice([10, 20, 30], count)),
            "old": rng.random(count) < 0.5,
            "note": np.arange(count),
        },
        index=np.arange(count) + 500,
    )
    frame = frame.astype({"count": "Int64", "old": "boolean", "note": "Int64"})
    for name in ("size", "count", "kind", "grade", "old"):
        frame.loc[rng.random(count) < 0.25, name] = None
    return frame


@pytest.mark.filterwarnings("ignore::polyvae.data.errors.DataNote")
@pytest.mark.parametrize("missing", ["random", "self-masking"])
def test_a_frame_comes_back_with_its_dtypes_categories_and_index(missing: str) -> None:
    frame = people()
    columns = frame.drop(columns="note")
    made = pv.recipes.incomplete(pv.data.wrap(columns, gaps=True).spec, missing=missing, latent=2, samples=5, seed=0)
    run = pv.fit(made, columns, epochs=30, batch_size=30, lr=5e-3, progress=False, device="cpu")
    found = run.impute(frame, samples=100, draws=2)
    for whole in (found.expected, *found.draws):
        assert (whole.dtypes == frame.dtypes).all()
        assert whole.index.equals(frame.index)
        assert list(whole.columns) == list(frame.columns)
        assert not whole.isna().any().any()
        for name in frame:
            known = frame[name].notna()
            assert (whole[name][known] == frame[name][known]).all()
    assert len(found.draws) == 2
    assert not found.draws[0].equals(found.draws[1])
    assert found.effective.shape == (150,)
    gone = frame["kind"].isna() & frame["size"].notna()
    assert ((found.expected["kind"] == "high") == (frame["size"] > 4))[gone].mean() > 0.9


def test_arrays_and_tensors_keep_their_type_and_a_row_without_values_is_filled() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 3))
    x[:, 1] = x[:, 0] + 0.1 * x[:, 1]
    data = pv.data.wrap({"x": np.nan_to_num(x), "seen": rng.random(x.shape) < 0.8})
    run = pv.fit("incomplete", data, epochs=2, progress=False, device="cpu")
    x[0] = np.nan
    x[1:5, 1] = np.nan
    for given in (x, torch.from_numpy(x), torch.from_numpy(x).float()):
        found = run.impute(given, samples=50, draws=1)
        assert type(found.expected) is type(given)
        assert found.expected.dtype == given.dtype
        known = ~np.isnan(x)
        assert (np.asarray(found.expected)[known] == np.asarray(given)[known]).all()
        assert not np.isnan(np.asarray(found.draws[0])).any()
    assert run.score(x).shape == (80,)
    other = pv.fit("vae", x[5:], epochs=1, progress=False, device="cpu")
    with pytest.raises(ValueError, match="this model explains all of x, missing or not: impute with a run of incompl"):
        other.impute(x)


def test_with_its_defaults_it_fills_real_gaps_better_than_the_mean() -> None:
    """The plain bound would keep an early epoch, whose imputations hardly are better than the mean."""
    truth = load_iris().data
    truth = (truth - truth.mean(0)) / truth.std(0)
    hide = np.random.default_rng(0).random(truth.shape) < 0.3
    gaps = np.where(hide, np.nan, truth)
    run = pv.fit("incomplete", gaps, epochs=40, lr=5e-3, progress=False, device="cpu")
    found = run.impute(gaps, samples=100).expected
    assert np.sqrt(((found - truth)[hide] ** 2).mean()) < 0.7  # 1.0 is the mean's
    assert run.recipe.monitor == "loss"
    assert pv.recipes.incomplete((3,), objective=pv.Objective()).monitor == "bound"


def test_what_fills_a_cell_does_not_depend_on_the_rows_beside_it() -> None:
    frame = people().drop(columns="note").astype({"old": "object", "count": "object"})
    run = pv.fit("incomplete", frame, epochs=1, progress=False, device="cpu")
    alone = frame.iloc[[0]].assign(old=None, count=None)
    for rows in (alone, pd.concat([alone, frame.dropna().iloc[[0]]])):
        found = run.impute(rows, samples=10, draws=1)
        for whole in (found.expected, *found.draws):
            assert isinstance(whole["old"].iloc[0], (bool, np.bool_))
            assert isinstance(whole["count"].iloc[0], (int, np.integer))
