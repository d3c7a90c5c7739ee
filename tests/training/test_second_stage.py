"""A learned prior over the codes of a vector-quantised run: trained, kept, resumed, used, and refused where it must."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import polyvae as pv
from helpers.runs import same, timeless, weights
from helpers.training import assert_same_run
from polyvae.data import Data, wrap
from polyvae.evaluation import both_bounds
from polyvae.training.second_stage import code_data, has_prior, sharpened, train_prior, with_prior
from polyvae.training.store import RunError

SMALL = {"channels": 8, "layers": 2, "first_kernel_size": 3, "device": "cpu", "progress": False, "batch_size": 20}


def pictures(labels: bool = True) -> Data:
    """Two kinds of pictures, so that codes follow from each other."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(100) % 2
    x = (torch.rand(100, 1, 8, 8, generator=generator) < torch.where(y == 0, 0.1, 0.9)[:, None, None, None]).float()
    return wrap((x, y) if labels else x, validation=20, test=0)


def quantised(folder: Path | None, data: Data, **options: Any) -> pv.Run:
    made = pv.recipes.vq_vae(data.spec, seed=0, **{"codes": 8, "dim": 3, "widths": (8, 8), **options})
    return pv.fit(made, data, folder, epochs=12, batch_size=20, lr=1e-2, device="cpu", progress=False)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quantised run without a learned prior."""
    folder = tmp_path_factory.mktemp("stage") / "run"
    quantised(folder, pictures())
    return folder


@pytest.fixture
def run(first: Path, tmp_path: Path) -> pv.Run:
    """A copy of it."""
    return pv.Run.load(shutil.copytree(first, tmp_path / "run"))


def test_the_codes_are_kept_small_and_are_those_that_the_run_encodes(run: pv.Run) -> None:
    data = pictures()
    codes = code_data(run, data)
    assert codes.spec == pv.Spec((1, 2, 2), classes=2, levels=8)
    assert {name: len(getattr(codes, name)) for name in ("train", "validation", "test")} == {
        "train": 80,
        "validation": 20,
        "test": 0,
    }
    assert codes.train.tensors["x"].dtype is torch.int16
    index = torch.arange(80)
    with torch.no_grad():
        expected = run.model.encode(data.train.batch(index))["z"].codes  # pyright: ignore
    batch = codes.train.batch(index)
    assert torch.equal((batch["x"] * 7).round().long()[:, 0], expected)
    assert torch.equal(batch["y"], data.train.tensors["y"])
    assert len(expected.unique()) > 2


def test_a_row_of_codes_is_a_map_of_one_row() -> None:
    data = wrap(torch.randn(60, 6, generator=torch.Generator().manual_seed(0)), validation=20)
    run = quantised(None, data)
    assert code_data(run, data).spec.x[:2] == (1, 1)
    prior = train_prior(run, data, epochs=1, **SMALL)
    assert prior.folder is None
    model = with_prior(run, prior).model
    assert model.generate(count=3)["x"].mean.shape == (3, 6)


def uniform_kl(run: pv.Run) -> float:
    return 4 * math.log(8)


def test_bound_and_kl_are_with_the_learned_prior_and_nothing_else_is_trained(run: pv.Run) -> None:
    data, before = pictures(), weights(run.recipe)
    prior = train_prior(run, data, epochs=6, lr=1e-2, **SMALL)
    assert prior.folder == run.folder / "prior"  # pyright: ignore
    learned = with_prior(run)
    assert same(weights(run.recipe), before)
    assert learned.model.heads["x"] is run.model.heads["x"]
    assert learned.model.posterior["z"] is run.model.posterior["z"]
    old, new = (both_bounds(each, data.validation, samples=3) for each in (run, learned))
    assert torch.equal(old.heads["x"], new.heads["x"])
    assert old.kl["z"].tolist() == pytest.approx([uniform_kl(run)] * 20)
    torch.testing.assert_close(new.plain - old.plain, uniform_kl(run) - new.kl["z"])
    assert new.kl["z"].mean() < 0.8 * uniform_kl(run)
    # the prior's own run says the same of the codes
    codes = code_data(run, data)
    torch.testing.assert_close(both_bounds(prior, codes.validation).plain, -new.kl["z"], rtol=1e-5, atol=1e-5)
    assert prior.history[-1]["validation_bound"] == pytest.approx(-float(new.kl["z"].mean()), abs=0.5)
    assert not learned.model.training
    assert learned.model.generate(count=5)["x"].mean.shape == (5, 1, 8, 8)


def test_samples_follow_the_learned_prior_by_class_and_as_sharply_as_asked(run: pv.Run) -> None:
    train_prior(run, pictures(), epochs=8, lr=1e-2, condition=True, **SMALL)
    learned = with_prior(run)
    assert learned.model.conditions == ("y",)
    torch.manual_seed(0)

    def lit(source: pv.Run) -> Tensor:
        given = {"y": torch.tensor([0, 1])}
        return source.model.generate(given, count=60)["x"].mean.unflatten(0, (60, 2)).mean((0, 2, 3, 4))

    dark, bright = lit(learned)
    assert dark + 0.3 < bright
    likeliest = sharpened(learned, temperature=0.0).model.sample_latents({"y": torch.tensor([0, 1])}, 5)["z"]
    assert len(likeliest.unique(dim=0)) == 2
    assert torch.equal(likeliest, sharpened(learned, top_k=1).model.sample_latents({"y": torch.tensor([0, 1])}, 5)["z"])


def test_a_prior_that_was_stopped_goes_on_as_if_it_had_not(run: pv.Run, tmp_path: Path) -> None:
    data = pictures()
    other = pv.Run.load(shutil.copytree(run.folder, tmp_path / "other"))  # pyright: ignore
    whole = train_prior(run, data, epochs=3, condition=True, dropout=0.2, **SMALL)
    train_prior(other, data, epochs=3, condition=True, dropout=0.2, max_steps=6, **SMALL)
    again = train_prior(other, data, resume=True, max_steps=None, progress=False)
    assert timeless(again.history) == timeless(whole.history)
    assert same(weights(again.recipe), weights(whole.recipe))
    assert_same_run(run.folder / "prior", other.folder / "prior")  # pyright: ignore


def test_what_cannot_be_is_refused(run: pv.Run, tmp_path: Path) -> None:
    data = pictures()
    with pytest.raises(RunError, match=r"has no learned prior yet; train one with `polyvae train-prior .*run`"):
        with_prior(run)
    with pytest.raises(ValueError, match="temperature and top_k are for runs that draw codes"):
        sharpened(run, 0.5)
    with pytest.raises(ValueError, match="needs labels or vectors y; these data have none"):
        train_prior(run, pictures(labels=False), condition=True, **SMALL)
    with pytest.raises(TypeError, match="no setting is named 'layrs'"):
        train_prior(run, data, layrs=3)
    plain = pv.recipes.vae(data.spec, network="mlp", widths=(6,), latent=2, seed=0)
    with pytest.raises(RunError, match="has no map of codes with a uniform prior"):
        train_prior(pv.Run(plain), data, **SMALL)
    assert not has_prior(Path(run.folder))  # pyright: ignore
    prior = train_prior(run, data, epochs=1, **SMALL)
    assert has_prior(Path(run.folder))  # pyright: ignore
    with pytest.raises(RunError, match="has no map of codes with a uniform prior"):
        train_prior(with_prior(run), data, **SMALL)
    with pytest.raises(
        RunError, match=r"a prior of 8 codes at \(2, 2\), the run has 5 codes at \(2, 2\): train another"
    ):
        with_prior(quantised(None, data, codes=5), prior)
    with pytest.raises(RunError, match="the run holds no learned prior"):
        with_prior(run, pv.Run(plain))
    with pytest.raises(RunError, match="already holds a run"):
        train_prior(run, data, **SMALL)


def test_a_prior_of_other_weights_is_refused(run: pv.Run) -> None:
    data, folder = pictures(), run.folder
    train_prior(run, data, epochs=1, **SMALL)
    pv.fit(run.recipe, data, folder, resume=True, epochs=14, batch_size=20, lr=1e-2, device="cpu", progress=False)
    again = pv.Run.load(folder)  # pyright: ignore
    with pytest.raises(RunError, match="trained on since its prior was: its codes are others now"):
        with_prior(again)
    with pytest.raises(RunError, match="holds another run and cannot be resumed"):
        train_prior(again, data, resume=True, epochs=2)
