"""`polyvae evaluate`: its report as a document and as a table, with its baselines and notes."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.commands import Say
from polyvae import data


def test_of_a_table_nothing_is_said_of_pictures(say: Say, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32))
    assert say("train", "vae", "--data", tmp_path / "rows.npy", "--epochs", "1", "--run", tmp_path / "run")[0] == 0
    code, out, _ = say("evaluate", tmp_path / "run", "--samples", "2", "--baselines")
    assert code == 0
    assert "squared error" in out
    assert not {"PSNR", "SSIM"} & set(out.replace(",", " ").split())


@pytest.mark.usefixtures("unhurried")
def test_the_gaps_of_the_bound_are_told_where_they_are_asked_for(say: Say, run: Path) -> None:
    asked = ("--samples", "5", "--refine", "4", "--ais", "4", "--ais-examples", "3")
    code, out, _ = say("evaluate", run, *asked)
    assert code == 0
    assert "posteriors refined by 4 steps" in out
    assert "annealing, 4 temperatures" in out
    report = json.loads((run / "evaluation.json").read_text())
    assert report["ais"]["examples"] == 3
    assert report["refined"]["steps"] == 4
    assert say("evaluate", run, "--refine", "-1")[0] == 2


@pytest.mark.usefixtures("unhurried")
def test_evaluation_is_one_json_document_with_its_baselines(say: Say, run: Path) -> None:
    code, out, err = say("evaluate", run, "--samples", "7", "--json", "--baselines")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert (report["split"], report["samples"], report["recipe"]["name"]) == ("test", 7, "vae")
    assert report["bound"] < report["importance_bound"] < 0
    assert report["baselines"]["ppca"]["bound"] is not None
    assert report["baselines"]["pca"]["bound"] is None
    assert report["baselines"]["pca"]["mse"] < report["mse"]
    assert not any("ppca" in note for note in report["notes"])
    assert json.loads((run / "evaluation.json").read_text()) == report
    assert json.loads(say("evaluate", run, "--samples", "7", "--json", "--baselines")[1]) == report


def test_baselines_of_bits_are_said_to_be_densities_beside_probabilities(say: Say, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 2, (80, 6))
    np.save(tmp_path / "bits.npy", rows)
    folder = tmp_path / "bits"
    options = ("--latent", "2", "--network", "mlp", "--widths", "8", "--epochs", "1", "--run", folder)
    assert say("train", "vae", "--data", tmp_path / "bits.npy", *options)[0] == 0
    code, out, _ = say("evaluate", folder, "--samples", "2", "--json", "--baselines")
    assert code == 0
    report = json.loads(out)
    assert (report["discrete"], report["baselines"]["ppca"]["discrete"]) == (True, False)
    assert any("ppca is on a density of all values" in note for note in report["notes"])


def test_a_mixed_table_is_said_to_have_densities_and_probabilities(say: Say, tmp_path: Path) -> None:
    stream = np.random.default_rng(0)
    pairs = zip(stream.normal(size=80), stream.poisson(3, 80), strict=True)
    rows = [f"{x:.4f},{count},{x + 1:.3f}" for x, count in pairs]
    (tmp_path / "a.csv").write_text("\n".join(["size,visits,width", *rows]))
    folder = tmp_path / "mixed"
    options = ("--latent", "2", "--network", "mlp", "--widths", "8", "--epochs", "1", "--run", folder)
    assert say("train", "vae", "--data", tmp_path / "a.csv", *options)[0] == 0
    code, out, _ = say("evaluate", folder, "--samples", "2", "--json", "--baselines")
    notes = json.loads(out)["notes"]
    assert code == 0
    assert "no bits per dimension: some values have probabilities, others densities" in notes
    assert any("densities of real and positive columns and probabilities of bits, counts" in note for note in notes)


@pytest.mark.usefixtures("unhurried")
def test_evaluation_as_a_table(say: Say, run: Path) -> None:
    out = run / "reports" / "train.json"
    code, shown, err = say("evaluate", run, "--samples", "2", "--split", "train", "--baselines", "--out", out)
    assert (code, err) == (0, "")
    assert "vae on the train part of digits" in " ".join(shown.split())
    assert all(word in shown for word in ("K = 2", "ppca", "pca", "nats", f"report: {out}"))
    assert json.loads(out.read_text())["examples"] == 200


def test_without_a_test_part_the_validation_part_is_taken_and_said(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = data.load

    @wraps(load)
    def without_test(*arguments: Any, **options: Any) -> data.Data:
        found = load(*arguments, **options)
        return replace(found, test=found.test.take([]))

    monkeypatch.setattr(data, "load", without_test)
    folder = tmp_path / "run"
    assert say("train", "ppca", "--data", "digits", "--limit", "200", "--run", folder)[0] == 0
    code, out, err = say("evaluate", folder, "--samples", "1", "--json")
    assert (code, json.loads(out)["split"]) == (0, "validation")
    assert "the validation part is taken" in err
    code, _, err = say("evaluate", folder, "--split", "test")
    assert code == 1
    assert "the test part of digits is empty" in err


def test_a_table_of_fewer_columns_than_latents_has_baselines_too(say: Say, tmp_path: Path) -> None:
    np.save(tmp_path / "table.npy", np.random.default_rng(0).normal(size=(60, 3)))
    given = ["--epochs", "1", "--run", tmp_path / "run"]
    assert say("train", "vae", "--data", tmp_path / "table.npy", *given)[0] == 0
    code, out, _ = say("evaluate", tmp_path / "run", "--samples", "2", "--baselines", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["baselines"]["ppca"]["latents"]["z"]["dimensions"] == 2
    assert any("the latents hold 16 numbers, the baselines 2" in note for note in report["notes"])
