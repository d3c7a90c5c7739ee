"""Real runs of a study, small ones on scikit-learn's digits: what they measure, resume from and come to."""

from __future__ import annotations

import base64
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import polyvae as pv
from helpers.study_runs import job
from polyvae import data
from polyvae.cli import main
from polyvae.data import Split, wrap
from polyvae.evaluation import each_block
from polyvae.model.distributions.codes import Quantised
from polyvae.recipes import named
from polyvae.study import Cell, Job, Method, run
from polyvae.study.job import RunFailed
from polyvae.study.thesis import measure as measuring
from polyvae.study.thesis.measure import by_size, measure
from polyvae.study.thesis.run import loaded
from polyvae.study.thesis.watch import LATENT, codes_loss, heads, watch

TINY = ["--data", "digits", "--config", "1", "--widths", "4,8", "--limit", "200", "--epochs", "1", "--device", "cpu"]
TIMED = ("seconds", "device")
ONE, TWO, GRID = Method("one", "uniform", exponent=20), Method("two", "uniform"), Method("two", "grid", True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Job, dict[str, Any]]]:
    """One run of some methods of each family, trained for two epochs."""
    folder = tmp_path_factory.mktemp("runs")
    chosen = [
        Cell("digits", family, 1, method) for family in ("gaussian", "vq") for method in (Method(), ONE, TWO, GRID)
    ]
    jobs = [job(cell, folder, epochs=2) for cell in chosen]
    return {each.cell.name: (each, run(each)) for each in jobs}


def split(count: int = 60) -> Split:
    x = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return wrap(x, validation=0.2, test=0).train


def built(family: str, method: Method) -> Any:
    name, options = Cell("digits", family, 1, method).recipe(pv.Spec((1, 8, 8)), (4, 8))
    return named(name)(pv.Spec((1, 8, 8)), seed=0, **options)


def test_a_row_says_what_was_run(runs: dict[str, tuple[Job, dict[str, Any]]]) -> None:
    made, result = runs["digits-gaussian-1-one-uniform-20"]
    row = result["row"]
    assert (row["method"], row["exponent"], row["fold"], row["config"]) == ("one-uniform-20", 20, 0, 1)
    assert (row["train"], row["validation"], row["epochs"], row["pixels"]) == (200, 50, 2, 64)
    assert row["best_epoch"] in (1, 2)
    assert row["observed_count"] == 400
    assert 0.0 < row["observed"] < 8.0
    recipe = pv.Run.load(made.folder).recipe
    assert row["parameters"] == sum(p.numel() for p in recipe.model.parameters())
    assert json.loads(json.dumps(result)) == result
    assert [line["epoch"] for line in result["curve"]] == [1, 2]
    assert [line["count"] for line in result["masks"]] == [0, 1, 2, 5, 10, 20, 40]


def test_a_run_is_an_ordinary_run_folder(
    runs: dict[str, tuple[Job, dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    made, _ = runs["digits-vq-1-two-uniform"]
    assert main(["evaluate", str(made.folder), "--split", "validation", "--samples", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("family", ["gaussian", "vq"])
@pytest.mark.parametrize("method", [Method(), ONE, TWO, GRID], ids=lambda method: method.name)
def test_measures_are_those_of_the_model_itself(
    family: str, method: Method, runs: dict[str, tuple[Job, dict[str, Any]]]
) -> None:
    """At the posterior's mean nothing is drawn, so that whole-split values can be written down at once."""
    made, result = runs[f"digits-{family}-1-{method.name}"]
    model = pv.Run.load(made.folder).model
    part = loaded("digits", None, 200, 0).validation
    with torch.no_grad():
        x = part.batch(torch.arange(len(part)))["x"]
        q = model.posterior["z"]({"x": x})
        empty = torch.zeros(len(x), 2, 8, 8)
        made_of = model.heads["x"]({"x": x, "z": q.mean, "m": empty}).mean
        assert result["row"]["mse_at_mean"] == pytest.approx((made_of - x).square().mean().item(), rel=1e-5)
        if family == "gaussian":
            latent = torch.distributions.kl_divergence(q, model.prior["z"]({})).mean()
        else:
            latent = 1.25 * (q.encoded - q.vectors).square().mean()
            assert result["row"]["mse"] == pytest.approx(result["row"]["mse_at_mean"], rel=1e-6)
        assert result["row"]["latent"] == pytest.approx(latent.item(), rel=1e-5)


def test_one_decoder_without_m_is_itself_at_the_empty_mask(runs: dict[str, tuple[Job, dict[str, Any]]]) -> None:
    for family in ("gaussian", "vq"):
        lines = runs[f"digits-{family}-1-one-uniform-20"][1]["masks"]
        assert lines[0]["mse"] == lines[0]["without"]
        two = runs[f"digits-{family}-1-two-uniform"][1]["masks"]
        assert two[0]["mse"] != two[0]["without"]


def test_a_decoder_that_copies_what_it_sees_falls_to_zero_with_the_size_of_the_mask() -> None:
    """With p(x | z, m) = what m shows and 0 elsewhere, the error is the unseen part of the sum of squares."""
    recipe = built("gaussian", TWO)

    class Copy(torch.nn.Module):
        given = ("z", "m")

        def forward(self, values: pv.Values) -> Any:
            seen = values["m"][:, :1]
            return torch.distributions.Independent(torch.distributions.Normal(seen, torch.ones_like(seen)), 3)

    recipe.model.heads["x_given_m"] = pv.Head(Copy(), of="x")
    part = split()
    lines = by_size(recipe, part, seed=3)
    x = part.batch(torch.arange(len(part)))["x"]
    assert lines[0]["mse"] == pytest.approx(x.square().mean().item(), rel=1e-5)
    assert [line["mse"] for line in lines] == sorted((line["mse"] for line in lines), reverse=True)
    for line in lines:
        left = 1 - line["count"] / 64
        assert line["mse"] == pytest.approx(left * x.square().mean().item(), rel=0.1, abs=0.004)
    assert by_size(recipe, part, seed=3) == lines
    assert by_size(recipe, part, seed=4) != lines
    assert by_size(built("gaussian", Method()), part) == []


def test_trap50_sizes_and_pictures_are_of_a_seeded_subset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a sorted fold every class is measured, as many as its share."""
    whole, recipe = split(), built("gaussian", TWO)
    part = Split({**whole.tensors, "y": torch.arange(len(whole)) * 4 // len(whole)})
    seen = []

    def noticed(source: Any, chosen: Split, *arguments: Any) -> Any:
        seen.append(chosen)
        return each_block(source, chosen, *arguments)

    monkeypatch.setattr(measuring, "SIZED", 8)
    monkeypatch.setattr(measuring, "each_block", noticed)
    lines = [by_size(recipe, part, seed=seed) for seed in (0, 0, 1)]
    assert lines[0] == lines[1] != lines[2]
    assert all(chosen.tensors["y"].bincount().tolist() == [2, 2, 2, 2] for chosen in seen)
    monkeypatch.setattr(measuring, "PICTURES", 4)
    made = [measuring.pictures(recipe, part, seed) for seed in (0, 0, 1)]
    assert made[0] == made[1] != made[2]


def test_measuring_repeats_itself_and_leaves_the_model_as_it_was() -> None:
    recipe, part = built("gaussian", ONE), split()
    recipe.model.train()
    before = {name: tensor.clone() for name, tensor in recipe.model.state_dict().items()}
    state = torch.random.get_rng_state()
    first = measure(recipe, part, "gaussian", seed=1)
    assert measure(recipe, part, "gaussian", seed=1) == first
    assert measure(recipe, part, "gaussian", seed=2)["mse"] != first["mse"]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert recipe.model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in recipe.model.state_dict().items())


def test_losses_of_the_latent_in_closed_form() -> None:
    normal = torch.distributions.Normal
    q = torch.distributions.Independent(normal(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 2.0]])), 1)
    p = torch.distributions.Independent(normal(torch.zeros(2), torch.ones(2)), 1)
    assert LATENT["gaussian"](q, p).item() == pytest.approx(0.5 + 0.5 * (4 - 1 - 2 * math.log(2)))
    encoded, vectors = torch.full((1, 2, 1, 1), 0.3), torch.full((1, 2, 1, 1), 0.1)
    quantised = Quantised(torch.zeros(1, 1, 1, dtype=torch.int64), encoded, vectors)
    assert codes_loss(quantised, quantised).item() == pytest.approx(1.25 * 0.04)


@pytest.mark.parametrize("family", ["gaussian", "vq"])
@pytest.mark.parametrize("method", [Method(), ONE, TWO], ids=lambda method: method.name)
def test_watching_changes_no_weight_and_no_loss(family: str, method: Method, tmp_path: Path) -> None:
    x = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    options = {"epochs": 2, "batch_size": 16, "device": "cpu", "progress": False}
    plain = pv.fit(built(family, method), wrap(x, validation=0.2, test=0), **options)
    watched = built(family, method)
    watch(watched, family)
    seen = pv.fit(watched, wrap(x, validation=0.2, test=0), **options)
    for (name, mine), theirs in zip(plain.model.state_dict().items(), seen.model.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs), name
    assert list(plain.model.state_dict()) == list(seen.model.state_dict())
    for mine, theirs in zip(plain.history, seen.history, strict=True):
        assert all(theirs[name] == value for name, value in mine.items() if "second" not in name)
        assert theirs["validation_mse"] > 0
        assert ("train_observed" in theirs) == (method.kind != "baseline")


def test_counts_of_training_are_those_of_the_masks_that_were_drawn(runs: dict[str, tuple[Job, dict[str, Any]]]) -> None:
    row = runs["digits-vq-1-two-uniform"][1]["row"]
    assert (row["observed"], row["observed_sd"]) == (3.0, 0.0)
    grid = runs["digits-gaussian-1-two-grid-softadapt"][1]["row"]
    assert (grid["observed"], grid["observed_sd"]) == (16.0, 0.0)
    both = {family: runs[f"digits-{family}-1-one-uniform-20"][1]["row"] for family in ("gaussian", "vq")}
    assert both["gaussian"]["observed"] == both["vq"]["observed"]  # the same images see the same pixels


def test_the_curves_of_the_baseline_end_where_the_measure_stands(runs: dict[str, tuple[Job, dict[str, Any]]]) -> None:
    """Validation in training and the measure at the end differ in the noise of z alone: not at all for codes."""
    result = runs["digits-vq-1-baseline"][1]
    best = result["row"]["best_epoch"]
    assert result["curve"][best - 1]["mse"] == pytest.approx(result["row"]["mse"], rel=1e-5)
    assert result["curve"][best - 1]["latent"] == pytest.approx(result["row"]["latent"], rel=1e-5)


def test_pictures_have_a_named_row_for_each_of_what_there_is(runs: dict[str, tuple[Job, dict[str, Any]]]) -> None:
    drawn = {}
    for name, rows in (("digits-gaussian-1-baseline", 2), ("digits-gaussian-1-two-uniform", 4)):
        picture = Image.open(io.BytesIO(base64.b64decode(runs[name][1]["picture"])))
        drawn[rows] = np.asarray(picture.convert("RGB"), dtype=float)
    assert len(drawn[4]) - len(drawn[2]) == 2 * 7 * (8 + 1)
    blue = np.round(np.array([0.30, 0.42, 0.62]) * 255)
    unseen = [(np.abs(picture - blue).max(-1) < 1).sum() for picture in drawn.values()]
    assert unseen == [0, 8 * (64 - 3) * 7**2]
    # Names stand left of the rows: what is dark there is ink.
    for longest, (rows, picture) in zip(("reconstruction", "without m"), drawn.items(), strict=True):
        ink = (picture[44:, : 11 * len(longest)].max(-1) < 128).any(1)
        assert (np.diff(ink.astype(int)) == 1).sum() == rows


def test_heads_with_and_without_m() -> None:
    assert heads(built("gaussian", Method()).model) == ("x", None)
    assert heads(built("gaussian", TWO).model) == ("x", "x_given_m")
    assert heads(built("vq", ONE).model) == (None, "x")


def test_a_run_resumes_where_it_was_interrupted_and_is_then_returned_as_it_is(tmp_path: Path) -> None:
    cell = Cell("digits", "gaussian", 1, ONE)
    whole = run(job(cell, tmp_path / "whole", epochs=3))
    made = job(cell, tmp_path / "parts", epochs=3)
    cut = loaded("digits", None, 200, 0)
    name, options = cell.recipe(cut.spec, (4, 8))
    recipe = named(name)(cut.spec, seed=0, **options)
    watch(recipe, "gaussian")
    pv.fit(recipe, cut, made.folder, epochs=2, seed=0, device="cpu", progress=False)
    again = run(made)
    assert {k: v for k, v in again["row"].items() if k not in TIMED} == {
        k: v for k, v in whole["row"].items() if k not in TIMED
    }
    assert again["curve"] == whole["curve"]
    before = (made.folder / "result.json").stat().st_mtime_ns
    assert run(made) == again
    assert (made.folder / "result.json").stat().st_mtime_ns == before


def test_a_loss_that_is_not_finite_fails_the_run_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise pv.NonFiniteError("at step 3 loss = nan")

    monkeypatch.setattr("polyvae.training.fit.fit", fail)
    with pytest.raises(RunFailed, match="digits-vq-1-baseline, fold 0: at step 3 loss = nan"):
        run(job(Cell("digits", "vq", 1), tmp_path))


def test_tables_are_no_data_for_the_study(tmp_path: Path) -> None:
    np.save(tmp_path / "table.npy", np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32))
    with pytest.raises(ValueError, match="the study is of pictures"):
        loaded(str(tmp_path / "table.npy"), None, None, 0)


def test_folds_of_a_limited_study_hold_as_many_images_as_asked_for() -> None:
    cut = data.load("digits", limit=200, fold=2, folds=5)
    assert (len(cut.train), len(cut.validation)) == (200, 50)
