"""Learned priors over several maps of codes: each knows those above it, and together they are one prior."""

from __future__ import annotations

import itertools
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import polyvae as pv
from helpers.runs import same, timeless, weights
from helpers.training import assert_same_run
from polyvae.data import Data, wrap
from polyvae.evaluation import both_bounds
from polyvae.training.second_stage import code_data, has_prior, sharpened, train_prior, unfinished, with_prior
from polyvae.training.store import RunError

SMALL = {"channels": 8, "layers": 2, "first_kernel_size": 3, "device": "cpu", "progress": False, "batch_size": 20}


def pictures() -> Data:
    """Two kinds of pictures, so that codes follow from each other."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(100) % 2
    x = (torch.rand(100, 1, 4, 4, generator=generator) < torch.where(y == 0, 0.1, 0.9)[:, None, None, None]).float()
    return wrap((x, y), validation=20, test=0)


def quantised(folder: Path | None, **options: Any) -> pv.Run:
    """Codes at 2 x 2 and 1 x 1 places."""
    given = {"codes": 3, "codes_above": 4, "dim": 2, "widths": (6,), **options}
    made = pv.recipes.vq_vae_2((1, 4, 4), seed=0, **given)
    return pv.fit(made, pictures(), folder, epochs=6, batch_size=20, lr=1e-2, device="cpu", progress=False)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("levels") / "run"
    quantised(folder)
    return folder


@pytest.fixture
def run(first: Path, tmp_path: Path) -> pv.Run:
    return pv.Run.load(shutil.copytree(first, tmp_path / "run"))


def test_a_map_stands_beside_the_words_of_those_above_it(run: pv.Run) -> None:
    data, index = pictures(), torch.arange(80)
    top, bottom = (code_data(run, data, level) for level in ("top", "bottom"))
    assert top.spec == pv.Spec((1, 1, 1), classes=2, levels=4)
    assert bottom.spec == pv.Spec((1, 2, 2), classes=2, levels=3)
    with torch.no_grad():
        laws, values = run.model.encode(data.train.batch(index)), run.model.centres(data.train.batch(index))
    batch = bottom.train.batch(index)
    assert torch.equal((batch["x"] * 2).round().long()[:, 0], laws["bottom"].codes)  # pyright: ignore
    assert torch.equal(batch["above1"], values["top"])
    assert bottom.train.tensors["above1"].dtype is torch.int16
    assert "above1" not in top.train.tensors
    assert torch.equal(batch["y"], data.train.tensors["y"])
    with pytest.raises(ValueError, match="level is one of top, bottom"):
        code_data(run, data)
    with pytest.raises(ValueError, match="level is one of top, bottom; got 'middle'"):
        code_data(run, data, "middle")


def test_the_bound_sums_over_the_levels_and_all_their_codes_have_probability_one(run: pv.Run) -> None:
    data = pictures()
    priors = train_prior(run, data, epochs=5, lr=1e-2, **SMALL)
    assert isinstance(priors, dict)
    assert [prior.folder for prior in priors.values()] == [run.folder / "prior" / name for name in ("top", "bottom")]  # pyright: ignore
    learned = with_prior(run)
    old, new = (both_bounds(each, data.validation, samples=3) for each in (run, learned))
    assert old.kl["top"].tolist() == pytest.approx([math.log(4)] * 20)
    assert old.kl["bottom"].tolist() == pytest.approx([4 * math.log(3)] * 20)
    torch.testing.assert_close(new.plain - old.plain, sum(old.kl.values()) - sum(new.kl.values()))
    torch.testing.assert_close(new.plain, new.importance)
    for name, prior in priors.items():
        found = both_bounds(prior, code_data(run, data, name).validation).plain
        torch.testing.assert_close(found, -new.kl[name], rtol=1e-5, atol=1e-5)
    model = learned.model.double()
    maps = torch.tensor(list(itertools.product(range(3), repeat=4))).view(-1, 2, 2)
    total = 0.0
    with torch.no_grad():
        for code in range(4):
            codes = torch.tensor([[[code]]])
            above = model.prior["top"]({}).log_prob_codes(codes)
            z = model.posterior["top"].embed(codes)  # pyright: ignore
            below = model.prior["bottom"]({"top": z}).log_prob_codes(maps[:, None])
            total += float((above + below.squeeze(1)).exp().sum())
    assert total == pytest.approx(1, abs=1e-10)


def test_samples_go_down_the_levels_by_class_and_as_sharply_as_asked(run: pv.Run) -> None:
    priors = train_prior(run, pictures(), epochs=12, lr=2e-2, condition=True, **SMALL)
    learned = with_prior(run, priors)
    assert learned.model.conditions == ("y",)
    y = {"y": torch.tensor([0, 1])}
    torch.manual_seed(0)
    dark, bright = learned.model.generate(y, 60)["x"].mean.unflatten(0, (60, 2)).mean((0, 2, 3, 4))
    assert dark + 0.3 < bright
    likeliest, among = (
        sharpened(learned, **how).model.sample_latents(y, 5) for how in ({"temperature": 0}, {"top_k": 1})
    )
    for name in ("top", "bottom"):
        assert len(likeliest[name].unique(dim=0)) <= 2
        assert torch.equal(likeliest[name], among[name])
    assert learned.sample(3, y=torch.tensor([0, 1])).shape == (6, 1, 4, 4)


def test_priors_that_were_stopped_at_any_level_go_on_as_if_they_had_not(run: pv.Run, tmp_path: Path) -> None:
    data = pictures()
    other = pv.Run.load(shutil.copytree(run.folder, tmp_path / "other"))  # pyright: ignore
    whole = train_prior(run, data, epochs=3, dropout=0.2, **SMALL)
    train_prior(other, data, level="top", epochs=3, dropout=0.2, max_steps=6, **SMALL)
    assert not has_prior(Path(str(other.folder)))
    assert "(bottom not begun): the own prior of" in str(unfinished(other))
    with pytest.raises(RunError, match="has no learned prior yet"):
        with_prior(other)
    again = train_prior(other, data, resume=True, max_steps=None, progress=False)
    assert unfinished(other) is None
    for name in ("top", "bottom"):
        assert timeless(again[name].history) == timeless(whole[name].history)  # pyright: ignore
        assert same(weights(again[name].recipe), weights(whole[name].recipe))  # pyright: ignore
        assert_same_run(run.folder / "prior" / name, other.folder / "prior" / name)  # pyright: ignore
    assert pv.Run.load(Path(str(run.folder)) / "prior" / "bottom").model.inputs == ("above1", "x")


def test_a_level_can_be_trained_alone_with_sizes_of_its_own(run: pv.Run) -> None:
    data = pictures()
    bottom = train_prior(run, data, level="bottom", epochs=1, **SMALL)
    assert isinstance(bottom, pv.Run)
    top = train_prior(run, data, level="top", epochs=2, **{**SMALL, "channels": 4})
    assert isinstance(top, pv.Run)
    together = with_prior(run, {"top": top, "bottom": bottom})
    stored = with_prior(run)
    found = [both_bounds(each, data.validation, samples=1).plain for each in (together, stored)]
    torch.testing.assert_close(*found)
    assert unfinished(run) is None


@pytest.mark.parametrize(
    "options",
    [
        {"quantiser": "residual", "depth": 2, "scales": 3},
        {"quantiser": "gumbel", "anneal": 10},
        {"quantiser": "lookup-free", "codes": 4, "dim": 16},
    ],
)
def test_other_quantisers_have_learned_priors_at_every_level(options: Any) -> None:
    data, run = pictures(), quantised(None, **options)
    priors = train_prior(run, data, epochs=1, **SMALL)
    assert isinstance(priors, dict)
    learned = with_prior(run, priors)
    found = both_bounds(learned, data.validation, samples=2)
    assert found.plain.isfinite().all()
    assert set(found.kl) == set(priors) == set(run.model.prior)
    assert learned.model.generate(count=3)["x"].mean.shape == (3, 1, 4, 4)


def test_what_cannot_be_is_refused_at_every_level(run: pv.Run) -> None:
    data = pictures()
    with pytest.raises(ValueError, match="level is one of top, bottom; got 'bottm'; did you mean bottom"):
        train_prior(run, data, level="bottm", **SMALL)
    with pytest.raises(TypeError, match="no setting is named 'above'"):
        train_prior(run, data, above=(2, 1, 1), **SMALL)
    priors = train_prior(run, data, epochs=1, **SMALL)
    assert isinstance(priors, dict)
    with pytest.raises(RunError, match=r"is a prior of 3 codes at \(2, 2\), .* has 4 codes at \(1, 1\): train"):
        with_prior(run, {"top": priors["bottom"]})
    with pytest.raises(RunError, match="already holds a run"):
        train_prior(run, data, **SMALL)
    pv.fit(run.recipe, data, run.folder, resume=True, epochs=7, batch_size=20, lr=1e-2, device="cpu", progress=False)
    with pytest.raises(RunError, match="trained on since its prior was"):
        with_prior(pv.Run.load(Path(str(run.folder))))
