"""The comparison of recipes: from the first run to the page, failures, kills, what is measured and how."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import polyvae as pv
from helpers.comparisons import FAILING, row
from polyvae.cli import main
from polyvae.data.split import Split
from polyvae.evaluation import both_bounds, frechet_distance
from polyvae.study import Budget, Grid, Networks, Scoring, StudyError, compare
from polyvae.study.compare import cost, fitted
from polyvae.study.compare import measure as measuring
from polyvae.study.compare.study import LAYOUT, failures, tables
from polyvae.study.trained import Job, Measured, budgeted, run

TINY = [
    "--data", "digits", "--limit", "120", "--epochs", "2", "--binarise", "dynamic", "--latent", "3", "--network",
    "mlp-tanh", "--widths", "8,8", "--samples", "20", "--scored", "5", "--pictures", "0", "--no-timing", "--device",
    "cpu",
]  # fmt: skip
SMALL = Budget(1, 2, limit=120, binarise="dynamic")
NETS = Networks(3, "mlp-tanh", (8, 8))
QUICK = Scoring(20, 5, 0, False)


def grid(recipes: str, budget: Budget = SMALL) -> Grid:
    return Grid(recipes, "digits", budget, NETS)


def timeless(folder: Path) -> Any:
    """The tables without what a clock measured, and how many ran at once."""
    found = tables().filled(folder)
    left = set(LAYOUT.columns) - {"seconds", "workers"}
    return {key: {name: row[name] for name in left} for key, row in found.rows.items()}, found.lines


def test_the_command_from_its_first_run_to_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "study"
    command = ["study", "compare", *TINY, "--recipes", "vae, iwae:samples=3 as three, ae, ppca", "--out", str(out)]
    assert main([*command, "--seeds", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["runs"], found["failed"]) == (4, [])
    before = (out / "runs.csv").read_text()
    assert main([*command, "--seeds", "2"]) == 0  # more seeds go into the same folder, and what is done stays
    told = capsys.readouterr()
    assert "three" in told.out
    assert len(told.err.splitlines()) == 4 + 2
    after = (out / "runs.csv").read_text()
    assert set(before.splitlines()) < set(after.splitlines())
    for name in ("REPORT.md", "report.html", "curves.csv", "study.json", "figures/likelihood.png"):
        assert (out / name).stat().st_size > 0
    text = (out / "REPORT.md").read_text()
    assert "'iwae:samples=3 as three" in text.partition("```\n")[2].partition("```")[0]
    assert "ae: no bound" in text
    assert "ppca: the likelihood is a density" in text
    held = tables().filled(out)
    assert held.rows["ae", 0]["nll"] is None
    assert held.rows["vae", 0]["nll"] > 0
    assert [line["epoch"] for line in held.lines["curve"]["vae", 1]] == [1, 2]
    again = (out / "report.html").read_bytes()
    assert main(["study", "compare", "--report-only", "--out", str(out)]) == 0
    assert (out / "report.html").read_bytes() == again


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--recipes", "vea"], "--recipes: no recipe is named 'vea'; did you mean vae"),
        (["--recipes", "vae:betta=2"], "--recipes: vae:betta=2: betta is no option of vae"),
        (["--recipes", "vae:latent=0"], "--recipes: vae:latent=0: latent is"),
        (["--recipes", "vae,vae"], "--recipes: 'vae' stands there twice"),
        (["--recipes", "cvae", "--data", "vortices"], "--recipes: cvae:"),
        (["--seeds", "0"], "--seeds: expected a whole number of at least 1"),
        (["--widths", "8,x"], "--widths"),
        (["--network", "mpl"], "no network is called 'mpl'"),
    ],
)
def test_mistakes_of_the_command_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "study"
    assert main(["study", "compare", *TINY, *arguments, "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert len(message.splitlines()) == 1
    assert not out.exists()


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_a_recipe_that_fails_is_told_and_does_not_stop_the_others(workers: str, tmp_path: Path) -> None:
    """A user's own recipe, here and in other processes; its failure is an exit code, and a line of the report."""
    own, out = tmp_path / "mine.py", tmp_path / "study"
    own.write_text(FAILING)
    command = [sys.executable, "-m", "polyvae", "study", "compare", *TINY, "--from", str(own), "--seeds", "1"]
    command += ["--recipes", "failing_vae,vae", "--workers", workers, "--out", str(out)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 1
    assert "1 runs came to no result: failing_vae, seed 0" in made.stderr.splitlines()[-1]
    assert set(tables().filled(out).rows) == {("vae", 0)}
    assert list(failures(out)) == [("failing_vae", 0)]
    assert "Runs without a result" in (out / "REPORT.md").read_text()


def test_a_comparison_that_failed_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("no luck")

    with monkeypatch.context() as now:
        now.setattr("polyvae.training.fit.fit", broken)
        with pytest.warns(UserWarning, match="vae, seed 0: ValueError: no luck"):
            assert compare(grid("vae"), tmp_path, scoring=QUICK, device="cpu").failed
    assert failures(tmp_path) == {("vae", 0): "vae, seed 0: ValueError: no luck"}
    done = compare(grid("vae"), tmp_path, scoring=QUICK, device="cpu")
    assert (done.failed, failures(tmp_path)) == ({}, {})


def test_a_folder_holds_one_budget_and_one_meaning_of_a_label(tmp_path: Path) -> None:
    compare(grid("iwae:samples=2 as iwae"), tmp_path, scoring=QUICK, device="cpu")
    with pytest.raises(StudyError, match="iwae, seed 0 with other options"):
        compare(grid("iwae:samples=3 as iwae"), tmp_path, scoring=QUICK, device="cpu")
    with pytest.raises(StudyError, match="epochs: 2 then, 3 now"):
        compare(grid("iwae", replace(SMALL, epochs=3)), tmp_path, scoring=QUICK, device="cpu")
    with pytest.raises(StudyError, match="samples: 20 then, 21 now"):
        compare(grid("iwae"), tmp_path, scoring=replace(QUICK, samples=21), device="cpu")


def started(out: Path, workers: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "polyvae", "study", "compare", *TINY, "--recipes", "vae,iwae:samples=3"]
    command += ["--seeds", "2", "--epochs", "12", "--workers", str(workers), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_trap55_a_comparison_killed_again_and_again_comes_to_the_same_table(workers: int, tmp_path: Path) -> None:
    assert started(tmp_path / "whole", 1).wait() == 0
    parts = tmp_path / "parts"
    for least in (0, 1, 3):
        process, end = started(parts, workers), time.monotonic() + 120
        while process.poll() is None and time.monotonic() < end:  # once in a first run, then between and within others
            written = sum(path.read_bytes().count(b"\n") for path in parts.glob("runs/*/*/metrics.csv"))
            if written > 4 + 12 * least:
                break
            time.sleep(0.005)
        process.kill()
        process.wait()
        time.sleep(0.5 * (workers > 1))  # those that were left alone end by themselves
    assert started(parts, workers).wait() == 0
    assert timeless(parts) == timeless(tmp_path / "whole")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """A run that is trained."""
    (job,) = grid("vae").jobs(tmp_path_factory.mktemp("run"), "nowhere:measure", {}, "cpu")
    done = pv.fit(job.recipe(), job.data(), job.folder, epochs=2, device="cpu", progress=False)
    return Measured(done, job.data(), job)


def scored(measured: Measured, **asked: Any) -> dict[str, Any]:
    settings = {"samples": 50, "scored": 5, "pictures": 0, "timing": False, **asked}
    return measuring.measure(replace(measured, job=replace(measured.job, asked={"scoring": settings})))["row"]


def test_what_the_weights_add_on_a_subset_is_added_to_the_bound_of_all(measured: Measured) -> None:
    part = measured.data.test
    few, whole = scored(measured), scored(measured, scored=len(part))
    assert (few["scored"], whole["scored"]) == (5, len(part))
    bounds = both_bounds(measured.run, part, 50, measuring.SEED)
    assert whole["nll"] == pytest.approx(-float(bounds.importance.mean()))
    assert few["nll"] <= -few["bound"]
    # Near the value of all examples, far nearer than the mean of five of them could be sure to be.
    assert few["nll"] == pytest.approx(whole["nll"], abs=5 * few["nll_error"] + 0.3)
    assert whole["nll_error"] == 0
    assert few == scored(measured)


@pytest.mark.parametrize("scored", [20, 80])
def test_the_error_told_of_a_subset_is_its_spread_over_subsets_and_draws(
    measured: Measured, monkeypatch: pytest.MonkeyPatch, scored: int
) -> None:
    bits = measured.data.train.tensors["x"].gt(0.5).float()  # the training part's are drawn anew at each look
    part, found = Split({"x": bits}), []
    for seed in range(60):
        monkeypatch.setattr(measuring, "SEED", 2 * seed)
        bound = float(both_bounds(measured.run, part, measuring.PLAIN, 1000 + seed).plain.mean())
        found.append(measuring._likelihood(measured.run, part, Scoring(samples=100, scored=scored), bound))
    nll, told = (torch.tensor([row[name] for row in found]) for name in ("nll", "nll_error"))
    assert told.mean() == pytest.approx(float(nll.std()), rel=0.25)


def test_trap3_what_chose_the_epoch_is_not_what_judges_it(measured: Measured) -> None:
    assert measuring.part(measured.data) is measured.data.test
    plain = budgeted("digits", None, SMALL, plain=True)
    assert len(plain.test) == len(measured.data.test)
    bits, grey = measured.data.test.tensors["x"], plain.test.tensors["x"]
    assert torch.equal(bits > 0, (bits > 0) & (grey > 0))  # the same examples: what is black stays black


def test_pictures_of_a_fitted_prior_are_nearer_where_the_prior_is_far(measured: Measured) -> None:
    """The latents of this run lie in a corner that its own prior hardly knows."""
    run = pv.Run.load(measured.job.folder)
    with torch.no_grad():
        run.model.posterior["z"].net.layers[-1].bias[:3].add_(6.0)  # of the means
        run.model.heads["x"].likelihood.net.layers[-1].weight.mul_(20)
    made = fitted.fitted_pictures(run, measured.data, measured.data.test, 200)
    assert made is not None
    assert tuple(made.shape) == (200, 1, 8, 8)
    assert torch.equal(made, fitted.fitted_pictures(run, measured.data, measured.data.test, 200))
    own = run.sample(200, expected=True)
    x = torch.as_tensor(run.reconstruct(measured.data.test))
    near, far = (frechet_distance(each.flatten(1), x.flatten(1)) for each in (made, torch.as_tensor(own)))
    assert near < far


def test_no_prior_of_vectors_is_fitted_to_codes_or_beside_a_condition(measured: Measured) -> None:
    for text in ("vq_vae:codes=4,dim=2,widths=[4]", "cvae:prior=conditional"):
        recipe = grid(text).jobs(Path(), "nowhere:measure")[0].recipe()
        assert fitted.fitted_pictures(pv.Run(recipe), measured.data, measured.data.test, 10) is None


def test_frechet_distances_are_of_grey_pictures_and_share_a_classifier(
    measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []
    plain = measuring.train_classifier

    def quick(split: Any, cache: Any, seed: int) -> Any:
        trained.append(sorted(set(split.tensors["x"].unique().tolist()))[1])
        return plain(split, cache, seed, steps=30)

    monkeypatch.setattr(measuring, "train_classifier", quick)
    first, second = scored(measured, pictures=15), scored(measured, pictures=15)
    assert first == second
    assert first["pictures"] == len(measured.data.test)
    assert min(first["frechet"], first["frechet_fitted"], first["frechet_real"]) > 0
    assert all(0 < value < 1 for value in trained)
    assert len(list((measured.job.study / "classifier").iterdir())) == 1


def test_trap44_a_step_is_timed_in_a_process_of_its_own(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    found = cost.cost(measured.job)
    assert 0 < found["step_seconds"] < 1
    assert 0 < found["memory_mb"] < 1000
    wide = replace(measured.job, shared={**measured.job.shared, "widths": (900, 900)})
    assert cost.measured(wide)["step_seconds"] > 2 * found["step_seconds"]
    with pytest.raises(RuntimeError, match="the process that measures a step failed"):
        cost.cost(replace(measured.job, source="nowhere"))


def test_a_run_that_was_shed_of_its_state_is_measured_again_and_not_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = compare(grid("vae"), tmp_path, scoring=QUICK, device="cpu")
    (job,) = grid("vae").jobs(tmp_path, measuring.MEASURE, {"scoring": vars(QUICK), "workers": 1}, "cpu")
    (job.folder / "result.json").unlink()
    monkeypatch.setattr("polyvae.training.fit.fit", None)
    again = run(job)["row"]
    assert {name: again[name] for name in LAYOUT.columns if name in again} == {
        name: value for name, value in done.records.rows["vae", 0].items() if name in again
    }
    assert isinstance(job, Job)
    assert row("vae")["label"] == "vae"
