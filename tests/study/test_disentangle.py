"""The study of disentanglement on sprites of a few factors: runs, scores, claims, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyvae.cli import main
from polyvae.cli.commands import options_at
from polyvae.data.sources.sprites import grid
from polyvae.evaluation.disentanglement import SCORES
from polyvae.study import report
from polyvae.study.disentangle.study import tables
from polyvae.study.records import open_study
from polyvae.study.tables import RUNS

SMALL = ["--epochs", "1", "--seeds", "1", "--widths", "8", "--latent", "3", "--traversals", "2", "--device", "cpu"]


@pytest.fixture(scope="module")
def sprites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = grid(2, 3, 5)
    x = made["imgs"].reshape(-1, 8, 8, 8, 8).max((2, 4)) * 255
    path = tmp_path_factory.mktemp("data") / "sprites.npz"
    np.savez(path, x=x[:, None].astype(np.uint8), factors=made["latents_classes"])
    return path


def study(sprites: Path, out: Path, *more: str, recipes: str = "vae; beta_tcvae:beta=6 as tc") -> int:
    return main(
        ["study", "disentangle", "--data", str(sprites), "--recipes", recipes, *SMALL, "--out", str(out), *more]
    )


@pytest.mark.filterwarnings("ignore:.*ill-conditioned")
def test_a_study_scores_every_recipe_goes_on_and_reports(
    sprites: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert study(sprites, out) == 0, capsys.readouterr().err
    held = tables().filled(out)
    assert set(held.rows) == {("vae", 0), ("tc", 0)}
    row = held.rows["tc", 0]
    assert json.loads(row["options"])["beta"] == 6
    assert all(row[name] is not None for name in SCORES)
    assert row["scored"] == 45  # the test part
    assert len(held.lines["information"]["vae", 0]) == 3 * 5
    said = capsys.readouterr().out
    assert "the total correlation of tc lies below that of vae" in said
    text, page = ((out / name).read_text(encoding="utf-8") for name in ("REPORT.md", "report.html"))
    assert "| MIG |" in text
    assert "pictures/tc.png" in text
    assert page.count("data:image/png") == 2
    before = (out / "runs" / "vae" / "seed-0" / "result.json").stat().st_mtime_ns
    assert study(sprites, out, "--seeds", "2", "--json") == 0
    assert (out / "runs" / "vae" / "seed-0" / "result.json").stat().st_mtime_ns == before
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["runs"] == 4
    assert found["claims"][0]["count"] == 2
    assert study(sprites, out, "--scored", "20") == 1
    assert "scored" in capsys.readouterr().err
    run = out / "runs" / "tc" / "seed-1"
    assert main(["evaluate", str(run), "--factors", "--samples", "2", "--json", "--device", "cpu"]) == 0
    scores = json.loads(capsys.readouterr().out.splitlines()[-1])["disentanglement"]
    assert scores["factors"] == ["1", "2", "3", "4", "5"]
    assert set(SCORES) <= set(scores)


def test_data_without_factors_are_refused_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["study", "disentangle", "--data", "digits", *SMALL, "--out", str(out)]) == 2
    assert "factors of examples" in capsys.readouterr().err
    assert not (out / RUNS).exists()
    folder = tmp_path / "run"
    line = ["train", "vae", "--data", "digits", "--run", str(folder), "--epochs", "1", "--network", "mlp"]
    assert main([*line, "--device", "cpu"]) == 0
    assert main(["evaluate", str(folder), "--factors", "--device", "cpu"]) == 2
    assert "--factors: disentanglement is measured against factors" in capsys.readouterr().err


def row(label: str, recipe: str, seed: int, **more: Any) -> dict[str, Any]:
    return {"label": label, "recipe": recipe, "seed": seed, "options": "{}", "seconds": 1.0, **more}


def test_claims_are_judged_over_the_seeds_that_both_recipes_have(tmp_path: Path) -> None:
    held = tables()
    for seed in range(3):
        for made in (
            row("vae", "vae", seed, total_correlation=1.0 + 0.1 * seed, factor_vae=0.6),
            row("tc", "beta_tcvae", seed, total_correlation=0.3 + 0.1 * seed + 0.01 * seed**2, factor_vae=0.6),
            row("critic", "factor_vae", seed, total_correlation=0.2, factor_vae=0.5 - 0.01 * seed),
        ):
            held.add({"row": made, "curve": [], "information": []})
    open_study(tmp_path, "disentangle", {"data": "sprites"})
    held.write(tmp_path)
    found = report(tmp_path)
    assert [(each.text.split(" of ")[1], each.verdict, each.found.count) for each in found.judged] == [
        ("tc lies below that", "holds", 3),
        ("critic lies above that", "fails", 3),
    ]
    assert list(found.means) == ["vae", "tc", "critic"]


def test_a_claim_is_judged_by_the_seeds_that_have_its_score_or_by_the_next_score(tmp_path: Path) -> None:
    held = tables()
    for seed in range(3):
        known = 0.1 if seed else None  # the posteriors of one run stand too far apart
        for made in (
            row("vae", "vae", seed, total_correlation=None, total_correlation_normal=0.9 + 0.1 * seed),
            row("narrow", "vae", seed, total_correlation=known, total_correlation_normal=0.1),
            row("tc", "beta_tcvae", seed, total_correlation=0.2, total_correlation_normal=0.3),
        ):
            held.add({"row": made, "curve": [], "information": []})
    open_study(tmp_path, "disentangle", {"data": "sprites"})
    held.write(tmp_path)
    found = report(tmp_path)
    assert [each.found.count for each in found.judged] == [2, 3]
    assert [(each.text, each.verdict) for each in found.judged] == [
        ("the total correlation of tc lies below that of narrow", "fails"),
        ("the total correlation of tc lies below that of vae, by covariances", "holds"),
    ]
    assert "polyvae study disentangle --data sprites --recipes 'vae as narrow; vae; beta_tcvae as tc' --seeds 3" in (
        found.markdown.read_text(encoding="utf-8")
    )
    assert "TC, normal 0.300, TC 0.200" in found.text()
    assert "TC, normal 1.00, TC –" in found.text()


def test_a_command_takes_the_defaults_of_its_own_bundles() -> None:
    options = {option.name: option for option in options_at("study disentangle")}
    assert options["data"].default == "sprites"
    assert options["latent"].default == 10
    assert {option.name: option for option in options_at("study compare")}["latent"].default == 50
