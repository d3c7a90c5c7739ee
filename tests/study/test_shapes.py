"""The shapes assignment: runs read at several epochs, the judge, the claims, the published losses, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from polyvae.cli import main
from polyvae.data.sources.shapes import KINDS
from polyvae.evaluation.classifier import Classifier, recognisable, recognised
from polyvae.study.shapes import judge as judging
from polyvae.study.shapes import run as running
from polyvae.study.shapes.claims import BETWEEN, capacities, claims, judged
from polyvae.study.shapes.judge import blended, blurred, broken, pictures, unlike, washed
from polyvae.study.shapes.measure import kinds
from polyvae.study.shapes.published import PUBLISHED, read, spread
from polyvae.study.shapes.study import tables

SMALL = [
    "--pictures",
    "120",
    "--size",
    "12",
    "--network",
    "mlp",
    "--widths",
    "8",
    "--latent",
    "3",
    "--scored",
    "30",
    "--device",
    "cpu",
]


@pytest.fixture(autouse=True)
def a_judge_of_a_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TRAINED": 60, "STEPS": 3, "CHECKED": 30}.items():
        monkeypatch.setattr(judging, name, value)
    monkeypatch.setattr(running, "cost", lambda job: {"step_seconds": 0.01})


def study(out: Path, *more: str) -> int:
    return main(["study", "shapes", *SMALL, "--readings", "1,2", "--noises", "5", "--out", str(out), *more])


def test_a_study_is_read_at_several_epochs_goes_on_and_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert study(out, "--seeds", "1") == 0, capsys.readouterr().err
    held = tables().filled(out)
    assert set(held.rows) == {("vae", 0), ("noise 5", 0)}
    lines = held.lines["readings"]["noise 5", 0]
    assert [line["epochs"] for line in lines] == [1, 2]
    assert lines[0]["error_mean"] == pytest.approx(lines[0]["error_sum"] / 144)
    assert 0 <= lines[0]["seconds"] <= lines[1]["seconds"]  # rounded: on a quiet machine both may take none
    assert lines[0]["importance_bound"] > lines[0]["bound"]
    for told, far in (("information_bits", "marginal_kl_bits"), ("information_most_bits", "marginal_kl_least_bits")):
        assert lines[1]["rate_bits"] == pytest.approx(lines[1][told] + lines[1][far])
    text = (out / "REPORT.md").read_text(encoding="utf-8")
    assert "--noises 5 --readings 1,2" in text
    assert "cannot be on one scale" in text
    assert (out / "report.html").read_text(encoding="utf-8").count("data:image/png") == 9
    before = (out / "runs" / "vae" / "seed-0" / "result.json").stat().st_mtime_ns
    capsys.readouterr()
    assert study(out, "--noises", "5,0.5", "--seeds", "2", "--json") == 0
    assert (out / "runs" / "vae" / "seed-0" / "result.json").stat().st_mtime_ns == before
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["runs"] == 6
    assert list(found["means"]) == ["vae", "noise 0.5", "noise 5"]
    assert found["claims"][0]["found"]["count"] == 2
    assert study(out, "--scored", "20") == 1
    assert "scored" in capsys.readouterr().err


def test_a_reading_is_measured_again_without_training_to_the_same_numbers(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert study(out, "--seeds", "1") == 0
    first = tables().filled(out).lines["readings"]["vae", 0]
    for path in (out / "runs.csv", out / "readings.csv", *out.glob("runs/*/*/result.json")):
        path.unlink()
    assert study(out, "--seeds", "1") == 0
    assert tables().filled(out).lines["readings"]["vae", 0] == first


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--readings", "2,1"], "readings are epochs that rise"),
        (["--noises", "5,5"], "each variance once"),
        (["--noises", "0"], "--noises"),
        (["--size", "4"], "--size"),
        (["--network", "dense"], "network"),
    ],
)
def test_a_mistake_is_told(line: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "shapes", *SMALL, *line, "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_the_judge_is_shown_as_no_shape_is_none() -> None:
    torch.manual_seed(0)
    x = pictures(30, 16, 0).tensors["x"].float() / 255
    assert unlike(x).shape == x.shape
    assert torch.allclose(blurred(torch.ones(1, 1, 16, 16), 1.0)[..., 5:11, 5:11], torch.ones(6, 6))
    assert torch.allclose(blurred(x, 0.5).sum((2, 3)), x.sum((2, 3)), rtol=0.02)
    assert bool((washed(x).amax((1, 2, 3)) < x.amax((1, 2, 3))).all())
    assert bool((blended(x) <= 0.6 * x + 0.6 * x.roll(1, 0) + 1e-6).all())
    once, again = (pictures(5, 16, seed).tensors["x"] for seed in (judging.CHECK, judging.TEST))
    assert not torch.equal(once, again)


def test_broken_shapes_are_of_kinds_that_the_judge_is_not_trained_on() -> None:
    torch.manual_seed(0)
    split = pictures(60, 20, 0)
    x, y = split.tensors["x"].float() / 255, split.tensors["y"]
    made = broken(x, y)
    circles = x[y == KINDS.index("circle")]
    lit = (made["half circles"] > 0.15).sum((1, 2, 3)) / (circles > 0.15).sum((1, 2, 3))
    assert lit.mean() == pytest.approx(0.5, abs=0.06)
    assert torch.equal(made["two shapes in one picture"][1], torch.maximum(x[1], x[0]))
    assert all(bool((each >= 0).all() and (each <= 1).all()) for each in made.values())


class Sure(Classifier):
    """Says what the first pixel is, and nothing where it is dark."""

    def __init__(self) -> None:
        super().__init__(1, 2, rejects=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = x[:, 0, 0, 0]
        return 20 * torch.stack([value, 1 - value, 2 * (value < 0.25)], 1)


def test_recognised_labels_are_those_that_are_sure_and_not_rejected() -> None:
    x = torch.tensor([1.0, 0.3, 0.5, 0.0]).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    assert recognised(Sure(), x, 0.9).tolist() == [0, 1, -1, -1]
    assert recognisable(Sure(), x, 0.9) == 0.5


def test_kinds_count_the_labels_that_share_what_is_recognised() -> None:
    assert kinds(torch.tensor([0, 1, 2, -1, -1])) == pytest.approx(3)
    assert kinds(torch.tensor([1, 1, -1])) == pytest.approx(1)
    assert kinds(torch.tensor([-1, -1])) is None


def readings(**values: list[float]) -> dict[str, Any]:
    """Lines of one column at 20 epochs, a value a seed."""
    columns = ("error_sum", "right_test", "recognised_random", *BETWEEN["information"], *BETWEEN["marginal_kl"])
    return {
        label.replace("_", " "): {20: {seed: dict.fromkeys(columns, value) for seed, value in enumerate(each)}}
        for label, each in values.items()
    }


def test_claims_are_judged_by_differences_paired_by_seed() -> None:
    held = readings(vae=[1.0, 2.0, 3.0], noise_2=[1.5, 2.6, 3.4], noise_5=[3.0, 4.1, 4.9])
    found = {each.text: each for each in judged(held, [20])}
    assert len(found) == len(claims(list(held))) == 11
    assert found["noise 5 leaves a larger squared error than the VAE"].verdict == "holds"
    assert found["noise 5 leaves a larger squared error than the VAE"].whose == "the assignment"
    assert found["noise 2 leaves a larger squared error than the VAE"].whose == ""
    assert found["fewer test pictures of noise 5 are recognised"].verdict == "fails"
    assert found["noise 2 tells more bits than noise 5"].verdict == "fails"
    one = judged(readings(vae=[1.0], noise_5=[2.0]), [20])
    assert {each.verdict for each in one} == {"undecided"}


@pytest.mark.parametrize(("told", "verdict"), [((0.5, 1.0), "holds"), ((1.5, 2.5), "undecided"), ((2.2, 3.0), "fails")])
def test_a_channel_is_held_to_its_capacity(told: tuple[float, float], verdict: str) -> None:
    low, high = BETWEEN["information"]
    lines = {seed: {low: told[0] + 0.01 * seed, high: told[1] + 0.01 * seed} for seed in range(3)}
    (found,) = capacities({"noise 1": {20: lines}}, [20], {"noise 1": 1.0}.__getitem__, 4)
    assert found.text == "noise 1 tells at most its 2.00 bits"
    assert found.most is not None
    assert found.most.mean == pytest.approx(told[1] + 0.01 - 2)
    assert found.verdict == verdict


def test_what_is_known_between_two_values_is_claimed_where_both_say_so() -> None:
    def held(vae: tuple[float, float], noise: tuple[float, float]) -> dict[str, Any]:
        columns = BETWEEN["marginal_kl"]
        each = {"vae": vae, "noise 5": noise}
        return {
            label: {
                20: {
                    seed: {name: value + seed / 10 for name, value in zip(columns, pair, strict=True)}
                    for seed in range(3)
                }
            }
            for label, pair in each.items()
        }

    claim = "q(z) of noise 5 lies further from the prior"
    # At a ceiling of the information one side says little: 168 bits at most are no 168 bits.
    cases = {"undecided": ((28, 168), (10, 60)), "fails": ((28, 168), (1, 20)), "holds": ((1, 5), (8, 9))}
    for verdict, pairs in cases.items():
        (found,) = [each for each in judged(held(*pairs), [20]) if each.text == claim]
        assert found.verdict == verdict, pairs


def test_the_published_losses_are_read_as_a_sum_and_a_mean() -> None:
    first, second = read(28)
    assert "0.0153 a pixel" in first
    assert "38.0 as a sum" in first
    assert "3.2 times" in first
    assert PUBLISHED["noise 5"].loss * 784 / PUBLISHED["vae"].loss == pytest.approx(3.16, abs=0.01)
    assert 25 < spread(28) < 40
    assert f"{spread(28):.1f}" in second
