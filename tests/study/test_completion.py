"""The study of completion: its masks, readings, table and verdicts against hand calculation, runs, kills, mistakes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from polyvae import data, recipes, study
from polyvae.cli import main
from polyvae.completion.complete import complete
from polyvae.completion.kriging import Kriging
from polyvae.study import Completed, Effort, Seen, StudyError
from polyvae.study.completion.figures import sheet
from polyvae.study.completion.jobs import ABLATION, BASELINE, MODEL, jobs_of
from polyvae.study.completion.masks import masks, words
from polyvae.study.completion.protocol import COLOURS
from polyvae.study.completion.protocol import MODELS as MODELS_OF_GREY
from polyvae.study.completion.published import quoted
from polyvae.study.completion.readings import Alike, Judge, best, class_loss, readings
from polyvae.study.completion.stated import (
    LAW,
    Stated,
    gappy_pca,
    interpolated,
    kriging,
    normal_law,
    of_run,
    separable_normal,
)
from polyvae.study.completion.study import tables
from polyvae.study.completion.table import Line, Mean, ablation, compared, lines
from polyvae.study.completion.unet import unet
from polyvae.study.statistics import FAILS, HOLDS
from polyvae.study.variants import variants

SMALL = "likelihood=bernoulli,latent=3,widths=8,16"
MODELS = f"arbitrary_conditioning:{SMALL} as ours; arbitrary_conditioning:{SMALL},z=none as network"
CHOSEN = Completed(MODELS, "normal-law, linear, u-net:widths=8,16 as u-net", "digits")
EFFORT = Effort(epochs=2, limit=200, batch_size=64)
SEEN = Seen(points=(12, 4), masks="left", test=20, held=12, draws=6, shown=2, steps=10)
LINE = ["--limit", "200", "--epochs", "1", "--test", "10", "--held", "8", "--draws", "4", "--points", "5"]
FAST = ["--data", "digits", *LINE, "--shown", "0", "--steps", "0", "--device", "cpu"]


def pictures(count: int, seed: int = 0) -> Tensor:
    """Smooth pictures of 6 x 6 within [0, 1]."""
    draws = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, 3, 3, generator=draws)
    return torch.nn.functional.interpolate(coarse, (6, 6), mode="bilinear")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    out = tmp_path_factory.mktemp("study") / "completion-digits"
    return out, study.completion(CHOSEN, out, effort=EFFORT, seen=SEEN, device="cpu", progress=False)


# masks


def test_masks_are_those_of_the_seed_whatever_is_completed() -> None:
    x, y = pictures(9), pictures(9, seed=1)
    for name in ("4", "left", "right", "top", "bottom", "box"):
        assert torch.equal(masks(name, x, 0), masks(name, y, 0))
    assert not torch.equal(masks("4", x, 0), masks("4", x, 1))
    assert masks("4", x, 0).flatten(1).sum(1).tolist() == [4.0] * 9
    left = masks("left", x, 0)
    assert not left[..., :3].any()
    assert left[..., 3:].all()
    assert (masks("box", x, 0).flatten(1).sum(1) == 27).all()  # a quarter of 36 is hidden
    assert [words(name) for name in ("1", "5", "box", "top")] == [
        "1 pixel", "5 pixels", "a box hidden", "top half hidden",
    ]  # fmt: skip


def test_all_pixels_leave_nothing_to_complete() -> None:
    with pytest.raises(ValueError, match="points: a picture of 6 x 6 has 36 pixels"):
        masks("36", pictures(2), 0)


# baselines


def test_a_baseline_says_what_its_law_expects_and_reads_nothing_unseen() -> None:
    x, held = pictures(60), pictures(16, seed=1)
    mask = masks("5", held, 0)
    for build in (normal_law, kriging, gappy_pca):
        method = build(x, (0.0, 1.0))(held, mask)
        torch.manual_seed(0)
        found = method(held, mask, 400)
        torch.manual_seed(0)
        blind = method(torch.where(mask != 0, held, 0.5), mask, 400)
        assert torch.equal(found.mean, blind.mean)
        assert 0 <= float(found.mean.min()) <= float(found.mean.max()) <= 1
        for draws in found.draws.values():
            assert draws.shape == (400, 16, 1, 6, 6)
            assert float((draws.mean(0) - found.mean).abs().max()) < 0.12  # cut off at the limits
    nearest = interpolated("nearest", x, None)(held, mask)(held, mask, 1).mean
    assert torch.equal(torch.where(mask != 0, nearest, 0.0), torch.where(mask != 0, held, 0.0))


def test_kriging_of_all_values_at_once_is_kriging_value_by_value() -> None:
    x, held = pictures(80), pictures(5, seed=1)
    mask, law = masks("6", held, 0), Kriging.fit(x)
    (mean, std), (joint_mean, joint_std) = law.complete(held, mask), law.joint().complete(held, mask)
    assert torch.allclose(mean, joint_mean, atol=1e-5)
    assert torch.allclose(std, joint_std, atol=1e-4)


# readings


def test_alike_means_lend_the_values_that_stood_there() -> None:
    """Predictions 0.00, 0.01 ... 0.99 of values ten times as large, each drawn from the two neighbours on each side."""
    mean = torch.arange(100).float().view(1, 1, 10, 10) / 100
    alike = Alike.of(mean, 10 * mean, torch.ones_like(mean))
    torch.manual_seed(0)
    drawn = alike.draw(torch.tensor([[0.5]]), 300)
    assert drawn.shape == (300, 1, 1)
    assert 4.8 <= float(drawn.min()) <= float(drawn.max()) <= 5.2
    assert float(alike.draw(torch.tensor([9.0]), 50).min()) >= 9.7
    half = Alike.of(mean, 10 * mean, mean < 0.5)
    assert float(half.values.max()) < 5.0  # what is seen lends nothing


def test_alike_means_lend_all_values_that_were_predicted_alike() -> None:
    """20 pictures of zeros or of ones, predicted to be 0 alike: 1 in 4 is of ones, whichever come first."""
    x = (torch.arange(20) % 4 == 1).float()[:, None, None, None].expand(-1, 1, 20, 20)
    torch.manual_seed(0)
    alike = Alike.of(torch.zeros_like(x), x, torch.ones_like(x))
    assert float(alike.draw(torch.zeros(50), 400).mean()) == pytest.approx(0.25, abs=0.01)
    mean = torch.cat([torch.zeros(4000), torch.linspace(0.1, 1.0, 4000)]).view(1, 1, 80, 100)
    x = torch.cat([torch.arange(4000) / 4000, torch.linspace(0.1, 1.0, 4000)]).view(1, 1, 80, 100)
    drawn = Alike.of(mean, x, torch.ones_like(x)).draw(torch.tensor([0.0]), 4000).flatten()
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("mean", [-1.0, 0.0, 0.001, 0.999, 1.0, 2.0])
def test_alike_means_at_the_ends_lend_many_values(mean: float) -> None:
    """The hundred at that end, each as often, where half of the window would lie beyond it."""
    means = torch.linspace(0, 1, 10_000).view(1, 1, 100, 100)
    drawn = Alike.of(means, means, torch.ones_like(means)).draw(torch.tensor([mean]), 10_000).flatten()
    assert len(drawn.unique()) == 100
    assert float((drawn == drawn.mode().values).float().mean()) < 0.02


@pytest.mark.parametrize("count", [1, 2, 3])
def test_alike_means_of_few_values(count: int) -> None:
    means = torch.arange(count).float().view(1, 1, 1, count)
    drawn = Alike.of(means, means, torch.ones_like(means)).draw(torch.tensor([-1.0, 0.0, 0.5, 9.0]), 50)
    assert set(drawn.flatten().tolist()) <= set(range(count))


def test_scores_are_those_of_hand_calculation() -> None:
    """Two draws 0 and 1 of one unseen pixel of truth 0.25: E|X - x| = 1/2, and E|X - X'| / 2 without itself 1/2."""
    x, mask = torch.tensor([[[[0.25, 0.9]]]]), torch.tensor([[[[0.0, 1.0]]]])
    draws = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1, 1).expand(2, 1, 1, 1, 2).contiguous()
    judge = Judge(torch.tensor([[[True, True]]]))
    found = judge.scores(draws, x, mask, None)
    assert found["crps"].tolist() == pytest.approx([0.0])
    assert found["energy"].tolist() == pytest.approx([0.0])
    assert found["coverage"].tolist() == [1.0]
    assert judge.squared(torch.full_like(x, 0.75), x, mask).tolist() == pytest.approx([0.25])
    point = readings(Stated(torch.full_like(x, 0.75)), None, 6)["point"]
    assert judge.scores(point, x, mask, None)["crps"].tolist() == pytest.approx([0.5])  # the absolute error


def test_class_loss_is_of_the_mean_chance_of_the_true_class() -> None:
    class Two(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x.flatten(1).sum(1), torch.zeros(len(x))], 1)

    draws = torch.tensor([0.0, 2.0]).view(2, 1, 1, 1, 1)
    chances = 0.5 * (0.5 + 1 / (1 + np.exp(-2.0)))
    assert class_loss(Two(), draws, torch.tensor([0])).tolist() == pytest.approx([-np.log(chances)])
    assert class_loss(Two(), draws, torch.tensor([1])).tolist() == pytest.approx([-np.log(1 - chances)])


def test_each_score_chooses_its_reading_on_held_out_pictures() -> None:
    held = {
        "law": {"crps": 0.2, "energy": 1.0, "coverage": 0.0},
        "alike": {"crps": 0.1, "energy": 2.0, "coverage": 1.0},
    }
    assert best(held) == {"crps": "alike", "energy": "law"}


# the table


def line(label: str, kind: str, mse: list[float], crps: list[float], **options: Any) -> Line:
    run = {"kind": kind, "recipe": "r", "options": json.dumps(options), "seed": 0}
    scores = {("5", "mse"): dict(enumerate(mse)), ("5", "crps"): dict(enumerate(crps))}
    return Line(label, (run,), scores, {})


def test_means_errors_and_paired_differences_are_those_of_hand_calculation() -> None:
    ours, other = line("ours", MODEL, [1.0, 2.0, 6.0], [1.0] * 3), line("law", BASELINE, [1.0, 1.0, 5.0], [2.0] * 3)
    assert ours.mean("5", "mse") == Mean(3.0, pytest.approx(np.sqrt(7 / 3)), 3)  # type: ignore[arg-type]
    less = ours.less(other, "5", "mse")  # 0, 1, 1
    assert (less.value, less.error) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert Mean.of([4.0]).error != Mean.of([4.0]).error  # of one picture nothing is known


def test_the_verdict_allows_squared_error_its_standard_error_and_crps_none() -> None:
    far, near = line("far", BASELINE, [9.0] * 3, [9.0] * 3), line("near", BASELINE, [1.0, 1.0, 1.0], [1.0] * 3)
    within = line("ours", MODEL, [1.1, 1.3, 0.7], [1.0, 1.0, 1.1])  # above by 0.033, standard error 0.176
    above = line("ours", MODEL, [1.1, 1.1, 1.2], [1.0, 1.0, 0.9])
    for mine, errors, ranks in ((within, HOLDS, FAILS), (above, FAILS, HOLDS)):
        (squared,), (ranked,) = (compared(mine, [mine, far, near], ["5"], score) for score in ("mse", "crps"))
        assert (squared.best, squared.verdict) == ("near", errors)
        assert (ranked.best, ranked.verdict) == ("near", ranks)
    tie = line("ours", MODEL, [1.0] * 3, [1.0] * 3)
    assert compared(tie, [near], ["5"], "crps")[0].verdict == FAILS  # no better is not best


def test_a_network_without_z_is_that_of_the_model_with_its_options() -> None:
    ours = line("ours", MODEL, [1.0], [1.0], widths=[8])
    other, own = line("a", ABLATION, [1.0], [1.0], z=None), line("b", ABLATION, [1.0], [1.0], widths=[8], z=None)
    assert ablation(ours, [ours, other, own]) is own
    assert ablation(ours, [ours, other]) is None


def test_what_is_quoted_is_what_was_told() -> None:
    vaeac, normal, network = quoted("mnist")
    assert [each.scores["mse"]["200"] for each in (normal, network)] == [0.0183, 0.0195]
    assert list(vaeac.scores["mse"].values()) == [0.0649, 0.0564, 0.0475, 0.0359, 0.0219]
    assert list(vaeac.scores["crps"].values()) == [0.0977, 0.0874, 0.0763, 0.0621, 0.0441]
    assert list(normal.scores["crps"].values()) == [0.1012, 0.0925, 0.0832, 0.0717, 0.0543]
    assert quoted("digits") == ()


@pytest.mark.parametrize(("count", "draws"), [(3, 0), (4, 2), (6, 3)])
def test_a_sheet_has_every_picture_beside_its_own_draws_however_many_there_are(count: int, draws: int) -> None:
    grey = np.full((count, 1, 5, 5), 100, np.uint8)
    told = {
        "truth": grey,
        "seen": 255 * (grey > 0).astype(np.uint8),
        "mean": grey,
        "draws": grey[None].repeat(draws, 0),
    }
    drawn = sheet({"one": told, "other": {**told, "draws": told["draws"][:0]}}, "7")
    assert len(drawn.axes) == -(-count // 4)
    labels = [tick.get_text() for tick in drawn.axes[0].get_xticklabels()]
    first = ["truth\nmean", "seen\ndraw", *["draw"] * (draws - 1)]
    assert labels == first * min(4, count)
    assert [tick.get_text() for tick in drawn.axes[-1].get_yticklabels()] == ["the picture", "one", "other"]


# runs


def test_every_method_is_judged_on_the_same_pictures_by_its_best_readings(made: tuple[Path, Any]) -> None:
    _, done = made
    assert not done.failed
    kinds = {label: row["kind"] for (label, _), row in done.records.rows.items()}
    assert kinds == {"ours": MODEL, "network": ABLATION, "normal-law": BASELINE, "linear": BASELINE, "u-net": BASELINE}
    held = {
        "ours": {"law", "means", "point", "alike"},
        "network": {"law", "point", "alike"},
        "u-net": {"law", "point", "alike"},
        "normal-law": {"law", "point", "alike"},
        "linear": {"point", "alike"},
    }
    for (label, _), cells in done.records.lines["cells"].items():
        for mask in ("4", "12", "left"):
            mine = [cell for cell in cells if cell["mask"] == mask]
            assert {cell["reading"] for cell in mine} == held[label]
            assert len({cell["mse"] for cell in mine}) == 1  # of one mean
            for score in ("crps", "energy"):
                chosen = min(mine, key=lambda cell: cell[f"held_{score}"])
                assert [cell["reading"] for cell in mine if score in cell["best_in"].split()] == [chosen["reading"]]
    assert {row["parameters"] for (label, _), row in done.records.rows.items() if label == "normal-law"} == {None}


def test_the_pictures_are_those_that_the_cells_are_means_of(made: tuple[Path, Any]) -> None:
    _, done = made
    for each in lines(done.records):
        cells = done.records.lines["cells"][each.label, 0]
        for mask in ("4", "12", "left"):
            for score in ("crps", "energy", "class_loss"):
                (cell,) = [c for c in cells if c["mask"] == mask and score in c["best_in"].split()]
                mean = each.mean(mask, score)
                assert (mean.value, mean.error) == pytest.approx((cell[score], cell[f"{score}_error"]), rel=1e-4)
                assert mean.count == 20


def test_what_methods_state_is_told_beside_their_best_reading(made: tuple[Path, Any]) -> None:
    _, done = made
    for each in lines(done.records):
        own = "point" if each.label == "linear" else "law"
        for mask in ("4", "12", "left"):
            cells = done.records.lines["cells"][each.label, 0]
            (cell,) = [c for c in cells if (c["mask"], c["reading"]) == (mask, own)]
            assert (each.stated[mask].value, each.stated[mask].error) == (cell["crps"], cell["crps_error"])


def test_the_usual_models_are_one_with_and_one_without_z_which_belong_together() -> None:
    for text in (MODELS_OF_GREY, COLOURS):
        whole, bare = variants(text)
        assert (whole.label, bare.label) == ("arbitrary_conditioning", "network without z")
        assert {**whole.options, "z": None} == dict(bare.options)


def test_the_report_holds_tables_verdicts_and_figures(made: tuple[Path, Any]) -> None:
    out, _ = made
    report = study.report(out)
    text = report.markdown.read_text(encoding="utf-8")
    for said in (
        "Is ours best?",
        "What z is worth",
        "| 4 pixels |",
        "left half hidden",
        "| u-net |",
        "Alike means",
        "z=none",
    ):
        assert said in text
    for name in ("curves", "completed-4", "completed-12", "completed-left"):
        assert (out / f"figures/{name}.png").exists()
    assert "nan" not in text.lower().replace("finance", "")
    told = json.loads((out / "table.json").read_text())
    assert set(told["verdicts"]["ours"]) == {"mse", "crps"}
    rows = list(csv.DictReader((out / "table.csv").read_text().splitlines()))
    assert len(rows) == len(told["scores"])
    cell = next(r for r in rows if (r["method"], r["mask"], r["score"]) == ("normal-law", "4", "mse"))
    assert float(cell["mean"]) == pytest.approx(
        next(e for e in report.lines if e.label == "normal-law").mean("4", "mse").value
    )
    assert "5 runs; squared error, CRPS at 4, 12, left" in report.text()
    assert {each["masks"][0]["best"] for each in told["verdicts"]["ours"].values()} <= {"normal-law", "linear", "u-net"}


def test_what_is_done_is_not_done_again_and_methods_may_be_added(made: tuple[Path, Any]) -> None:
    out, _ = made
    before = (out / "pictures.csv").read_text()
    more = Completed(MODELS, "normal-law, nearest", "digits")
    again = study.completion(more, out, effort=EFFORT, seen=SEEN, device="cpu", progress=False)
    assert {label for label, _ in again.records.rows} == {"ours", "network", "normal-law", "linear", "u-net", "nearest"}
    kept = [line for line in (out / "pictures.csv").read_text().splitlines() if not line.startswith("nearest,")]
    assert kept == before.splitlines()
    with pytest.raises(StudyError, match="other settings"):
        study.completion(CHOSEN, out, effort=EFFORT, seen=Seen(points=(4,)), device="cpu")


def test_a_network_without_z_learns_the_mean_alone() -> None:
    found = data.load("digits", limit=200)
    job = jobs_of(CHOSEN, EFFORT, SEEN, Path(), "cpu")
    bare = next(each for each in job if each.variant.label == "network").recipe()
    assert not list(bare.model.posterior.parameters())
    batch = bare.observe({"x": found.train.batch(torch.arange(6))["x"]})
    bare.model.eval().requires_grad_(False)
    draw = bare.model(batch, 3)
    assert bool((draw.values["z"] == 0).all())
    log_px = draw.heads["x"].log_p[0]
    assert torch.allclose(draw.log_weight[0], log_px)  # the bound is log p(x | m) itself
    values = bare.objective(bare.model, batch, 0)
    assert float(values["loss"]) == pytest.approx(-float(log_px.mean()), rel=1e-5)


@pytest.mark.parametrize("label", ["ours", "network"])
def test_a_model_says_here_what_complete_says_of_it(label: str) -> None:
    from polyvae.completion.masked import masked
    from polyvae.evaluation.blocks import evaluating

    recipe = next(job for job in jobs_of(CHOSEN, EFFORT, SEEN, Path(), "cpu") if job.variant.label == label).recipe()
    x = data.load("digits", limit=100).test.batch(torch.arange(5))["x"]
    mask = masks("9", x, 0)
    with evaluating(recipe.model):
        torch.manual_seed(0)
        found = of_run(masked(recipe), (0.0, 1.0))(x, mask, 400)
    whole = complete(recipe, x, mask, draws=400)
    assert torch.allclose(found.mean, whole.mean, atol=0.02 if label == "ours" else 1e-5)
    assert found.draws["law"].shape == (400, *x.shape)
    assert float((found.draws["law"].mean(0) - found.mean).abs().max()) < 0.12  # bits
    assert set(found.draws) == ({"law", "means"} if label == "ours" else {"law"})


@pytest.mark.parametrize("sides", [(8, 8), (28, 28), (13, 10)])
def test_the_unet_takes_pictures_of_any_sides_and_every_pixel_hears_of_every_other(sides: tuple[int, int]) -> None:
    from polyvae.model.spec import Spec

    made = unet(Spec((1, *sides), levels=256), widths=(8, 8, 8, 8))
    m = torch.zeros(1, 2, *sides, requires_grad=True)
    law = made.model.heads["x"]({"m": m})  # pyright: ignore
    assert law.mean.shape == (1, 1, *sides)
    law.mean[0, 0, 0, 0].backward()
    assert m.grad is not None
    assert bool((m.grad[0, :, -1, -1] != 0).any())


def test_trap53_the_unet_is_trained_on_the_masks_of_the_models() -> None:
    spec = data.load("digits", limit=100).spec
    assert unet(spec, widths=(8,)).observe == recipes.arbitrary_conditioning(spec, widths=(8, 8)).observe
    said = recipes.arbitrary_conditioning(spec, widths=(8, 8), exponent=20).observe
    assert unet(spec, widths=(8,), exponent=20).observe == said


def test_the_usual_unet_has_as_many_parameters_as_is_said() -> None:
    made = unet(data.load("digits", limit=100).spec)
    assert 1.2e6 < sum(p.numel() for p in made.model.parameters()) < 1.3e6


# the command


def test_the_command_from_its_first_run_to_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    line = ["study", "completion", *FAST, "--models", "none", "--against", "normal-law,nearest", "--out", str(out)]
    assert main([*line, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["runs"], told["failed"], told["verdicts"]) == (2, [], {})
    assert not (out / "pictures").exists()
    assert main(["study", "completion", "--report-only", "--out", str(out)]) == 0
    assert "normal-law" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--against", "normal-lw"], "--against: a baseline is one of"),
        (["--against", "vae"], "--against: a baseline is one of"),
        (["--against", "linear:rank=3"], "--against: linear:rank=3: baselines but u-net have no options"),
        (["--against", "u-net:depth=3"], "--against: u-net:depth=3"),
        (["--models", "arbitrary_conditionin"], "did you mean arbitrary_conditioning or"),
        (["--models", "vae"], "--models: vae: "),
        (["--models", "semi_conditional:condition=true"], "it also reads y, which methods are not told here"),
        (["--models", "arbitrary_conditioning:z=3"], "z is none, for a model without latents, or left out"),
        (["--models", "none", "--against", "none"], "--models: there is nothing to compare"),
        (["--points", "64"], "--points: a picture of 8 x 8 has 64 pixels"),
        (["--points", "-1"], "--points"),
        (["--masks", "middle"], "--masks are of left, right, top, bottom, box"),
        (["--minutes", "0"], "--minutes: expected a positive number"),
        (["--draws", "1"], "--draws: expected a whole number of at least 2"),
        (["--seeds", "x"], "--seeds"),
        (["--pionts", "3"], "did you mean --points"),
    ],
)
def test_mistakes_name_the_option_and_leave_no_folder(
    wrong: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["study", "completion", *FAST, *wrong, "--out", str(out)]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_tables_are_no_pictures(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\n" + "\n".join(f"{n},{n * n % 7}" for n in range(60)) + "\n")
    with pytest.raises(ValueError, match="completions are of pictures"):
        jobs_of(Completed(None, "normal-law", str(path)), Effort(epochs=1), Seen(), tmp_path)


def test_a_killed_study_goes_on_where_it_stopped(tmp_path: Path) -> None:
    out = tmp_path / "out"
    model = f"arbitrary_conditioning:{SMALL} as ours"
    line = ["study", "completion", *FAST, "--models", model, "--against", "nearest", "--out", str(out)]
    whole = tmp_path / "whole"
    assert main([*line[:-1], str(whole), "--epochs", "20"]) == 0
    command = [sys.executable, "-m", "polyvae", *line, "--epochs", "20"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env={**os.environ})
    metrics = out / "runs" / "ours" / "seed-0" / "metrics.csv"
    until = time.monotonic() + 60
    while time.monotonic() < until and not (metrics.exists() and metrics.read_text().count("\n") > 3):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [row["label"] for row in tables().filled(out).rows.values()] == ["nearest"]
    assert main([*line, "--epochs", "20"]) == 0
    assert (out / "pictures.csv").read_text() == (whole / "pictures.csv").read_text()
    assert LAW in (out / "cells.csv").read_text()


def test_pictures_larger_than_a_covariance_in_space_have_other_usual_methods(tmp_path: Path) -> None:
    path = tmp_path / "large.npz"
    np.savez(path, x=np.random.default_rng(0).integers(0, 256, (60, 3, 66, 64)).astype(np.uint8))
    seen = Seen(points=(9,), test=4, held=4, draws=2, shown=0, steps=0)
    jobs = jobs_of(Completed(data=str(path)), Effort(epochs=1, limit=40), seen, tmp_path / "out", "cpu")
    assert "separable-normal" not in {job.variant.recipe for job in jobs}
    assert {job.options["decoder"] for job in jobs if job.kind == MODEL} == {"analysers"}


def test_the_separable_law_draws_what_it_expects() -> None:
    torch.manual_seed(0)
    x = pictures(300).expand(-1, 3, -1, -1) * torch.tensor([1.0, 0.6, 0.3]).view(-1, 1, 1)
    mask = (torch.rand(20, 1, 6, 6) < 0.4).float()
    told = separable_normal(x[40:], None)(x[20:40], mask)(x[:20], mask, 2000)
    assert torch.allclose(told.draws[LAW].mean(0), told.mean, atol=0.03)
    unseen = (mask == 0).expand_as(x[:20])
    assert (told.mean - x[:20])[unseen].square().mean() < 0.2 * (x.mean(0) - x[:20])[unseen].square().mean()


def test_a_folder_with_a_broken_picture_says_which_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    folder = tmp_path / "own"
    folder.mkdir()
    for number in range(12):
        Image.fromarray(np.full((8, 8), 20 * number, np.uint8)).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    assert main(["study", "completion", "--data", str(folder), "--epochs", "1", "--out", str(tmp_path / "out")]) != 0
    told = " ".join(capsys.readouterr().err.split())
    assert "broken.png" in told
    assert "move files that cannot be read out of the folder" in told
