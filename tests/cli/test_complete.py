"""`polyvae complete`: what it writes and prints, and what it says of mistakes."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.commands import PNG, Say
from polyvae.cli import complete as command
from polyvae.cli import main
from polyvae.completion.scores import Score, score_completions
from polyvae.data import Split
from polyvae.evaluation.classifier import Classifier, train_classifier

SMALL = ["--network", "mlp", "--widths", "16", "--epochs", "2"]
DIGITS = [*SMALL, "--data", "digits", "--limit", "300", "--latent", "3"]
FAST = ["--draws", "40", "--score", "20"]
pytestmark = pytest.mark.usefixtures("unhurried")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs: "seeing" reads m and takes grey levels for bits, "plain" does not, "table" is one."""
    folder = tmp_path_factory.mktemp("complete")
    np.save(folder / "table.npy", np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32))
    seeing = [*DIGITS, "--exponent", "3", "--likelihood", "bernoulli"]
    assert main(["train", "semi_conditional", *seeing, "--run", str(folder / "seeing")]) == 0
    assert main(["train", "vae", *DIGITS, "--run", str(folder / "plain")]) == 0
    table = ["--data", str(folder / "table.npy"), "--latent", "2"]
    assert main(["train", "arbitrary_conditioning", *SMALL, *table, "--run", str(folder / "table")]) == 0
    return folder


def test_figures_arrays_and_a_table(say: Say, runs: Path) -> None:
    code, out, err = say("complete", runs / "seeing", "--count", "20", *FAST)
    assert code == 0
    assert err == (
        "polyvae: note: grey pictures under a Bernoulli likelihood: the spread is that of bits, the widest that such "
        "a mean allows\n"
    )
    assert "uniform masks, 40 draws of z from p(z), 20 examples of the test part" in " ".join(out.split())
    for words in (
        "model",
        "nearest",
        "linear",
        "gappy PCA, rank",
        "normal law",
        "kriging",
        "50 / 90 / 95",
        "calibrated",
    ):
        assert words in out
    figures = runs / "seeing" / "figures"
    assert out.splitlines()[-2:] == [str(figures / "completions.png"), str(figures / "completions.npz")]
    assert (figures / "completions.png").read_bytes().startswith(PNG)
    with np.load(figures / "completions.npz") as arrays:
        assert arrays["truth"].shape == arrays["std"].shape == arrays["low"].shape == (6, 1, 8, 8)
        assert arrays["samples"].shape == (4, 6, 1, 8, 8)
        assert arrays["mask"].sum((1, 2, 3)).tolist() == [20] * 6


def test_a_classifier_reads_the_completions(say: Say, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def quick(split: Split, **asked: object) -> Classifier:
        return train_classifier(split, steps=20)

    monkeypatch.setattr(command, "train_classifier", quick)
    code, out, _ = say("complete", runs / "seeing", "--count", "20", "--classifier", *FAST)
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("class log loss of completions from 20 points")]
    assert 0 < float(line.split(": ")[1].split(" ")[0]) < 10
    code, out, _ = say("complete", runs / "seeing", "--count", "20", "--json", *FAST)
    model = json.loads(out)["scores"][0]["unseen"]
    assert model["energy"] > model["crps"]
    assert model["class_loss"] is None
    assert say("complete", runs / "table", "--classifier", *FAST)[0] == 2


def test_errors_at_several_counts_as_json(say: Say, runs: Path, tmp_path: Path) -> None:
    place = tmp_path / "here" / "made.png"
    asked = ("complete", runs / "seeing", "--count", "0.25", "--counts", "40,4", "--out", place, "--json")
    asked += ("--draws", "9", *FAST[2:])
    code, out, err = say(*asked)
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["files"] == [str(place), str(place.with_suffix(".npz")), str(tmp_path / "here" / "made-errors.png")]
    assert all(Path(file).exists() for file in report["files"])
    few = "--draws 9: bands reach from the smallest to the largest draw at most, and 95 % of a law take 39 draws"
    assert report["notes"][1:] == [few]
    rows = {(row["method"], row["count"]): row for row in report["scores"]}
    assert list(rows)[::7] == [("model", 4), ("model", 0.25), ("model", 40)]
    assert [row["points"] for row in report["scores"]][::7] == [4, 16, 40]
    model, nearest = rows["model", 40], rows["nearest", 40]
    assert set(model["unseen"]["coverage"]) == set(model["calibrated"]["coverage"]) == {"0.5", "0.9", "0.95"}
    assert set(model["unseen"]["varying"]) == {"0.5", "0.9", "0.95"}
    assert nearest["unseen"]["coverage"] == nearest["unseen"]["varying"] == {}
    assert nearest["calibrated"]["crps"] < nearest["unseen"]["crps"]
    assert rows["gappy PCA", 40]["rank"] >= 0
    assert json.loads(say(*asked)[1]) == report
    assert json.loads(say(*asked, "--seed", "1")[1])["scores"] != report["scores"]


def test_trap50_a_seeded_subset_is_scored_whatever_the_order_of_the_file(
    say: Say, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polyvae.cli import complete

    scored = []

    def noticed(*arguments: Any) -> list[Score]:
        scored.append(arguments[1])
        return score_completions(*arguments)

    monkeypatch.setattr(complete, "score_completions", noticed)
    asked = ("complete", runs / "seeing", "--count", "4", *FAST, "--out", tmp_path / "a.png")
    assert say(*asked)[0] == say(*asked, "--seed", "1")[0] == 0
    labels = [part.tensors["y"] for part in scored]
    assert len(labels[0]) == len(labels[1]) == 20
    assert not torch.equal(scored[0].tensors["x"], scored[1].tensors["x"])
    for each in labels:  # stratified: every class keeps its share
        assert set(each.tolist()) == set(range(10))


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        (["--mask", "left"], 32),
        (["--mask", "points", "--positions", "0,0,7,7,3,4"], 3),
        (["--mask", "grid", "--count", "9"], 9),
        ([], 3),
        (["--count", "0"], 0),
        (["--counts", "5"], 5),
    ],
)
def test_every_mask_has_its_count(
    say: Say, runs: Path, tmp_path: Path, options: list[str], seen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        import_module("polyvae.completion.baselines"), "PAIRS", 30
    )  # examples of a regression that is not looked at here
    asked = ["complete", runs / "seeing", *options, *FAST, "--examples", "2", "--show-draws", "0", "--pixels"]
    code, out, _ = say(*asked, "--out", tmp_path / "a.png", "--npz", tmp_path / "b.npz", "--json")
    assert code == 0
    report = json.loads(out)
    assert report["files"] == [str(tmp_path / "a.png"), str(tmp_path / "b.npz")]
    assert {row["points"] for row in report["scores"]} == {seen}
    with np.load(tmp_path / "b.npz") as arrays:
        assert arrays["samples"].shape == (0, 2, 1, 8, 8)
        assert arrays["mask"].sum() == 2 * seen


def test_from_x_the_decoder_stands_beside_itself_without_the_observation(say: Say, runs: Path, tmp_path: Path) -> None:
    code, out, _ = say("complete", runs / "seeing", "--from-x", *FAST, "--out", tmp_path / "a.png", "--json")
    assert code == 0
    assert [row["method"] for row in json.loads(out)["scores"]][:2] == ["model", "without m"]


def test_a_model_that_reads_no_observation_completes_by_weights(say: Say, runs: Path, tmp_path: Path) -> None:
    asked = ["complete", runs / "plain", "--count", "10", *FAST, "--out", tmp_path / "a.png"]
    code, out, err = say(*asked)
    assert (code, out) == (1, "")
    assert "Take --weigh seen, which" in err
    assert err.count("\n") == 1
    code, out, err = say(*asked, "--from-x")
    assert code == 1
    assert "Ask for --head x to have that" in err
    code, out, err = say(*asked, "--weigh", "seen", "--candidates", "50", "--no-noise", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["notes"] == []  # no noise, no bits


def test_a_table_is_completed_too(say: Say, runs: Path, tmp_path: Path) -> None:
    asked = ["complete", runs / "table", "--count", "2", "--counts", "1,4", *FAST, "--out", tmp_path / "a.png"]
    code, out, err = say(*asked)
    assert (code, err) == (0, "")
    assert "nearest" not in out
    assert "gappy PCA" in out
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["mask"].shape == arrays["mean"].shape == (6, 6)
    assert (tmp_path / "a-errors.png").read_bytes().startswith(PNG)


def test_without_scores_there_are_pictures_alone(say: Say, runs: Path, tmp_path: Path) -> None:
    code, out, _ = say("complete", runs / "seeing", "--draws", "4", "--score", "0", "--out", tmp_path / "a.png")
    assert code == 0
    assert out.split() == [str(tmp_path / "a.png"), str(tmp_path / "a.npz")]


USAGE = {
    "nothing unseen": (["--count", "64"], "--count: all 64 places are seen, so that nothing is left to complete"),
    "another mask": (["--mask", "unifrm"], "did you mean uniform"),
    "one draw": (["--draws", "1"], "--draws: expected a whole number of at least 2, got '1'"),
    "no examples": (["--examples", "0"], "--examples: expected a whole number of at least 1, got '0'"),
    "fewer than none": (["--counts", "4,-1"], "--counts: expected a whole number of at least 0, got '4,-1'"),
    "not numbers": (["--counts", "4;5"], "expected whole numbers and commas"),
    "not a picture file": (["--out", "a.npz"], "--out is a PNG file"),
    "weights of the posterior": (["--from-x", "--weigh", "seen"], "leave out --from-x"),
    "another weighing": (["--weigh", "all"], "expected one of none, seen"),
    "more pixels than there are": (["--count", "65"], "--count does not fit values of shape 1 x 8 x 8"),
    "no positions": (["--mask", "points"], "--positions go with mask 'points'"),
    "candidates of nothing": (["--candidates", "9"], "without weights there are none"),
    "moves of nothing": (["--moves", "9"], "--moves are those of weigh hamiltonian"),
    "moves of weighed draws": (["--weigh", "seen", "--moves", "9"], "--moves are those of weigh hamiltonian"),
}


@pytest.mark.parametrize("case", USAGE)
def test_a_command_line_not_understood_is_one_line_and_2(case: str, say: Say, runs: Path) -> None:
    options, expected = USAGE[case]
    code, out, err = say("complete", runs / "seeing", *options)
    assert (code, out) == (2, "")
    assert err.startswith("polyvae: ")
    assert err.count("\n") == 1
    assert expected in err


FAILURES = {
    "another head": (["--head", "y"], "a head of the model is one of x; got 'y'"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_while_running_is_one_line_and_1(case: str, say: Say, runs: Path) -> None:
    options, expected = FAILURES[case]
    code, out, err = say("complete", runs / "seeing", *options, *FAST)
    assert (code, out) == (1, "")
    assert err.startswith("polyvae: ")
    assert err.count("\n") == 1
    assert expected in err


def test_a_run_of_sensors_that_stay_where_they_are_is_shown_those(say: Say, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    phase = rng.uniform(0, 6, 60)[:, None, None, None] + np.linspace(0, 3, 6)[:, None] + np.linspace(0, 2, 8)
    np.savez(tmp_path / "flow.npz", x=np.sin(phase).astype(np.float32))
    run, sensors = tmp_path / "run", ["--mask", "points", "--positions", "1,2,4,6"]
    assert say("train", "gaussian_process", "--data", tmp_path / "flow.npz", *sensors, "--run", run)[0] == 0
    asked = ["complete", run, "--draws", 3, "--score", 5]
    own = json.loads(say(*asked, "--json")[1])
    said = json.loads(say(*asked, *sensors, "--json")[1])
    assert (own["mask"], said["mask"]) == ("sensors", "points")
    assert own["scores"] == said["scores"]
    assert own["scores"][0]["points"] == 2
    assert own["scores"][0]["unseen"]["mse"] < 0.01
    assert "the sensors that it reads, 3 draws of z" in " ".join(say(*asked)[1].split())
    other = json.loads(say(*asked, "--count", 6, "--json")[1])
    assert other["mask"] == "uniform"


def test_a_law_that_is_nearer_than_the_run_is_said_with_what_begins_at_it(say: Say, runs: Path) -> None:
    asked = ("complete", runs / "seeing", "--counts", "20,5", *FAST)
    code, out, _ = say(*asked)
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("nearer than the run: ")]
    assert "the normal mixture where 5, 20 points are seen" in line
    assert line.endswith("; `--decoder analysers` of arbitrary_conditioning begins at such a law")
    report = json.loads(say(*asked, "--json")[1])
    assert report["to_try"] == [line]
    found = {(row["method"], row["count"]): row["unseen"] for row in report["scores"]}
    for law in ("normal law", "normal mixture"):
        there = [count for count in (5, 20) if found[law, count]["mse"] < found["model", count]["mse"]]
        assert (f"the {law} where {', '.join(map(str, there))} points are seen" in line) == bool(there)
        assert found[law, 5]["energy"] > 0
    assert "nearer than the run" not in say("complete", runs / "table", *FAST)[1]


def test_a_run_that_begins_at_a_law_is_told_to_train_for_longer(say: Say, tmp_path: Path) -> None:
    line = ["--data", "digits", "--limit", "200", "--epochs", "1", "--widths", "8,8", "--decoder", "analysers"]
    assert say("train", "semi_conditional", *line, "--run", tmp_path / "run")[0] == 0
    report = json.loads(say("complete", tmp_path / "run", "--count", "5", "--json", *FAST)[1])
    found = {row["method"]: row["unseen"]["mse"] for row in report["scores"]}
    nearer = [law for law in ("normal law", "normal mixture") if found[law] < found["model"]]
    assert len(report["to_try"]) == bool(nearer)
    for line in report["to_try"]:
        assert line.startswith("nearer than the run: ")
        assert line.endswith("; train it for longer, which begins at such a law, or on more examples")
        assert [law for law in found if f"the {law} where 5 points" in line] == nearer
