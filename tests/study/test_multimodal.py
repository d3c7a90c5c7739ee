"""The study of several modalities: its runs, its baselines, its tables and its report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.coherent import rows, triples
from polyvae import study
from polyvae.cli.commands import run
from polyvae.cli.reading import UsageError
from polyvae.data import Data
from polyvae.data.split import floats
from polyvae.evaluation.modalities import cross_coherence, judges
from polyvae.evaluation.modalities.judges import Judge
from polyvae.study import Compared, Course, Judging, Lacking, StudyError
from polyvae.study.multimodal.baselines import FITTED, Fitting
from polyvae.study.multimodal.figures import figures
from polyvae.study.multimodal.jobs import BaselineJob, jobs_of, models
from polyvae.study.multimodal.protocol import BASELINES, MODELS, words
from polyvae.study.multimodal.published import published
from polyvae.study.multimodal.study import tables
from polyvae.study.multimodal.table import Line, crosses, lines, places

SETTINGS = {"epochs": 4, "batch_size": 32, "lr": 3e-3, "weight_decay": 0.0}
JUDGING = Judging(draws=60, samples=3, scored=8, probed=50, columns=3, mapped=12, steps=40)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "triples.npz"
    held: dict[str, Any] = {name: value.numpy() for name, value in rows(300, 5).items()}
    np.savez(path, **held)
    return path


@pytest.fixture(scope="module")
def compared(source: Path) -> Compared:
    return Compared("mvae, mmvae:samples=2", "nearest, vae-ridge", str(source), modalities="a,c")


COURSE = Course(seeds=2, epochs=1, batch_size=64, latent=3)
LACKING = Lacking((0.5,), "mvae", 1)


@pytest.fixture(scope="module")
def made(compared: Compared, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    out = tmp_path_factory.mktemp("study") / "multimodal-triples"
    done = study.multimodal(
        compared, out, course=COURSE, lacking=LACKING, judging=JUDGING, device="cpu", progress=False
    )
    return out, done


def test_every_run_is_made_and_recorded(made: tuple[Path, Any]) -> None:
    _, done = made
    assert not done.failed
    labels = {"mvae", "mmvae:samples=2", "vae-ridge"}
    expected = {(label, seed) for label in labels for seed in (0, 1)} | {("nearest", 0), ("mvae, 50% missing", 0)}
    assert set(done.records.rows) == expected
    measures = done.records.lines["measures"]
    found = {(each["measure"], each["given"], each["target"]) for each in measures["mvae", 0]}
    assert {("coherence", "a", "c"), ("coherence", "a+c", "a"), ("frechet", "", "c"), ("probe", "c", "z")} <= found
    assert {("joint_fitted", "", ""), ("frechet_fitted", "", "a")} <= found
    assert {("importance_bound", "a+c", ""), ("bound", "c", ""), ("predictive", "a", "c")} <= found
    assert {each["measure"] for each in measures["nearest", 0]} == {
        "commonest",
        "accuracy",
        "coherence",
        "frechet",
        "frechet_real",
        "by_count",
    }
    assert all(
        0 <= each["value"] <= 1 for each in measures["mvae", 1] if each["measure"] in ("coherence", "probe", "accuracy")
    )


def test_the_row_is_the_mean_of_single_crosses(made: tuple[Path, Any]) -> None:
    _, done = made
    held = done.records.lines["measures"]["mvae", 0]
    single = [
        each["value"]
        for each in held
        if each["measure"] == "coherence" and (each["given"], each["target"]) in (("a", "c"), ("c", "a"))
    ]
    assert done.records.rows["mvae", 0]["cross"] == pytest.approx(sum(single) / 2)
    assert done.records.rows["mvae", 0]["draws"] == 60


def test_missing_modalities_are_missing_in_training_alone(compared: Compared, tmp_path: Path) -> None:
    jobs = jobs_of(compared, COURSE, LACKING, JUDGING, tmp_path, "cpu")
    lacking = next(job for job in jobs if job.absent)
    shares = lacking.data().train.absent
    assert all(0.3 < share < 0.6 for share in shares.values())
    assert not any(lacking.data().test.absent.values())
    assert not jobs[0].data().train.absent


def test_what_is_done_is_not_done_again(compared: Compared, made: tuple[Path, Any]) -> None:
    out, done = made
    before = (out / "runs.csv").read_text()
    again = study.multimodal(
        compared, out, course=COURSE, lacking=LACKING, judging=JUDGING, device="cpu", progress=False
    )
    assert again.records.rows.keys() == done.records.rows.keys()
    assert (out / "runs.csv").read_text() == before
    with pytest.raises(StudyError, match="other settings"):
        study.multimodal(
            compared, out, course=replace(COURSE, epochs=2), lacking=LACKING, judging=JUDGING, device="cpu"
        )


def test_the_report_holds_tables_figures_and_sheets(made: tuple[Path, Any]) -> None:
    out, _ = made
    report = study.report(out)
    text = report.markdown.read_text(encoding="utf-8")
    for words_of in (
        "a > c",
        "c > a",
        "joint, fitted prior",
        "real values",
        "chance of hiding",
        "vae-ridge",
        "| mvae |",
    ):
        assert words_of in text
    for name in ("figures/coherence.png", "figures/absent.png", "pictures/mvae-sheet.png", "pictures/mvae-map.png"):
        assert (out / name).exists()
        assert name in text
    assert not (out / "figures/given.png").exists()  # of two modalities one is given
    assert "8 runs, coherence in %" in report.text()
    assert "mvae, hidden with 50% chance  " in report.text()
    assert "missing in training" not in text
    json.dumps(report.as_dict(), allow_nan=False)
    assert "nan" not in text


def test_lines_are_gathered_by_label_models_first(made: tuple[Path, Any]) -> None:
    out, _ = made
    found = lines(tables().filled(out))
    assert [each.baseline for each in found] == sorted(each.baseline for each in found)
    lacking = next(each for each in found if each.absent)
    assert (lacking.model, lacking.absent, len(lacking.runs)) == ("mvae", 0.5, 1)
    pairs = [place for place in places(found, "coherence") if crosses(place)]
    assert pairs == [("a", "c"), ("c", "a")]
    mvae = next(each for each in found if each.label == "mvae")
    values = mvae.values("coherence", "a", "c")
    assert len(values) == 2
    assert (
        mvae.spread("coherence", "a", "c", percent=True)
        == f"{100 * np.mean(values):.1f} ± {100 * np.std(values, ddof=1):.1f}"
    )


def test_the_chance_of_hiding_is_called_a_chance() -> None:
    """With two modalities a chance of 50 % hides 37.5 % of them: no share is to be read off the axis."""
    run: dict[str, Any] = {"recipe": "mvae", "cross": 0.6, "joint": 0.4, "joint_real": 0.9, "seed": 0}
    found = [
        Line("mvae", ({**run, "absent": 0.0},), ({("coherence", "a", "c"): 0.6},)),
        Line("mvae, 50% missing", ({**run, "absent": 0.5},), ({},)),
    ]
    drawn, words_of = figures(found)["absent"]
    assert {axes.get_xlabel() for axes in drawn.axes} == {"chance of hiding, %"}
    assert [text.get_text() for legend in drawn.legends for text in legend.get_texts()] == ["mvae"]  # of one model too
    assert "chance" in words_of
    assert [each.shown for each in found] == ["mvae", "mvae, hidden with 50% chance"]


def test_a_study_without_a_run_has_no_report(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"study": "multimodal", "protocol": {"data": "mnist-svhn"}}))
    with pytest.raises(StudyError, match="no run yet"):
        study.report(tmp_path)


def test_models_have_the_studys_options_unless_they_have_their_own() -> None:
    found = {each.label: each.options for each in models("mvae, mmvae, mmvae:samples=3 as mine")}
    assert found == {"mvae": {}, "mmvae": MODELS["mmvae"], "mine": {"samples": 3}}
    assert [each.recipe for each in models(", ".join(MODELS))] == list(MODELS)
    assert set(BASELINES) == set(FITTED)
    assert words("none") == words("") == []


def test_what_cannot_be_compared_is_refused(compared: Compared, tmp_path: Path) -> None:
    for wrong, message in (
        (replace(compared, against="ccaa"), "did you mean cca"),
        (replace(compared, models="vae"), "models: vae"),
    ):
        with pytest.raises(ValueError, match=message):
            jobs_of(wrong, COURSE, Lacking(absent_models="none"), JUDGING, tmp_path)
    with pytest.raises(ValueError, match="a model that lacks modalities"):
        jobs_of(compared, COURSE, Lacking(absent_models="mvaee"), JUDGING, tmp_path)
    with pytest.raises(ValueError, match="absent"):
        Lacking(absent_shares=(1.0,))


def test_baselines_without_weights_are_made_once(compared: Compared, tmp_path: Path) -> None:
    jobs = [job for job in jobs_of(compared, COURSE, LACKING, JUDGING, tmp_path) if isinstance(job, BaselineJob)]
    assert [job.key for job in jobs] == [("nearest", 0), ("vae-ridge", 0), ("vae-ridge", 1)]


@pytest.fixture(scope="module")
def data() -> Data:
    return triples()


@pytest.fixture(scope="module")
def judged(data: Data) -> dict[str, Judge]:
    return judges(data, steps=60)


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_find_classes_that_are_plain_to_see(name: str, data: Data, judged: dict[str, Judge]) -> None:
    translate = FITTED[name](Fitting(data, latent=4, settings={**SETTINGS, "epochs": 40, "device": "cpu"}))
    found = cross_coherence(translate, data.test, judged, [("a",), ("b",), ("c",)], draws=90)
    assert {(each.given, each.target) for each in found} == {
        ((one,), other) for one in "abc" for other in "abc" if one != other
    }
    assert min(each.coherence.value for each in found) > 0.9, {(e.given, e.target): e.coherence.value for e in found}


def test_cca_expects_what_a_linear_normal_law_expects() -> None:
    """x_B = M x_A + noise: what is expected of x_A is M x_A, whatever basis the components have."""
    draws = torch.Generator().manual_seed(0)
    data = triples()

    def part(count: int) -> dict[str, Tensor]:
        a = torch.randn(count, 4, generator=draws)
        b = 0.5 * a.flip(1) + 0.1 * torch.randn(count, 4, generator=draws)
        return {"a": a, "b": b, "y": torch.arange(count) % 3}

    two = replace(data.spec, modalities=data.spec.modalities[:2])
    made = replace(data, train=replace(data.train, tensors=part(20_000)), spec=two)
    x = torch.randn(5, 4, generator=draws)
    assert torch.allclose(FITTED["cca"](Fitting(made))({"a": x})["b"], 0.5 * x.flip(1), atol=0.02)


def test_the_nearest_pair_is_the_partner_of_what_is_nearest(data: Data) -> None:
    train = data.train.tensors
    translate = FITTED["nearest"](Fitting(data))
    made = translate({"a": train["a"][[7, 3]]})
    assert torch.equal(made["b"], train["b"][[7, 3]])
    assert torch.equal(made["c"], floats(train["c"])[[7, 3]])
    assert set(made) == {"b", "c"}


def test_published_values_stand_beside() -> None:
    assert {each.model for each in published("mnist-svhn")} >= {"mmvae", "dmvae", "mvae", "poise"}
    assert published("mnist_svhn") == published("mnist-svhn")
    assert published("triples") == ()


def test_the_command_makes_a_study_and_its_report(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "study"
    asked = f"multimodal --data {source} --modalities a,c --models mopoe --against none --absent-models none --seeds 1"
    judged = "--draws 60 --samples 0 --probed 0 --columns 0 --mapped 0 --steps 20 --device cpu --epochs 1 --latent 3"
    run("study", [*asked.split(), *judged.split(), "--out", str(out), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert [each["label"] for each in told["models"]] == ["mopoe"]
    assert not (out / "pictures").exists()
    run("study", ["multimodal", "--report-only", "--out", str(out)])
    assert "1 runs, coherence in %" in capsys.readouterr().out
    with pytest.raises(UsageError, match="did you mean --against"):
        run("study", ["multimodal", "--agains", "cca"])


def test_a_study_needs_labels(tmp_path: Path) -> None:
    held: dict[str, Any] = {name: value.numpy() for name, value in rows(60, 5).items() if name != "y"}
    np.savez(tmp_path / "bare.npz", **held)
    with pytest.raises(ValueError, match="coherence is judged by labels"):
        study.multimodal(
            Compared("mvae", "none", str(tmp_path / "bare.npz"), modalities="a,b"), tmp_path / "out", course=COURSE
        )
    assert not (tmp_path / "out").exists()
