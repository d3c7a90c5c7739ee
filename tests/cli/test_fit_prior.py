"""`polyvae fit-prior`: a prior fitted to the latents of a run, used, reported, stopped and refused on a line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import polyvae as pv
from helpers.commands import Say
from polyvae.cli import main
from polyvae.cli.second_stage import print_judged


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the command line on digits, whose pictures have labels."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    line = ["--data", "digits", "--limit", "150", "--epochs", "2", "--run", str(folder)]
    assert main(["train", "vae", "--latent", "2", "--network", "mlp", "--widths", "8", *line]) == 0
    return folder


FEW = ["--samples", 2]
QUICK = ["--samples", 3, "--examples", 10, "--frechet", 0]


def test_the_commands_fit_use_and_report_a_prior(table: Path, tmp_path: Path, say: Say) -> None:
    folder = shutil.copytree(table, tmp_path / "run")
    code, out, err = say("fit-prior", folder, "mixture", "--json", *QUICK)
    judging = "judging it: bounds, and distances of samples, with the own and the fitted prior"
    assert (code, err.splitlines()) == (0, [f"training in {folder}/prior: latents of digits", judging])
    found = json.loads(out)
    assert (found["kind"], found["samples"], found["examples"]) == ("mixture", 3, 10)
    assert found["components"] in (1, 5, 10)
    assert found["own"]["frechet"] is None
    assert found["fitted"]["bound"] != found["own"]["bound"]
    code, out, _ = say("evaluate", folder, "--json", "--samples", 30)
    report = json.loads(out)
    own, learned = report["priors"]["own"], report["priors"]["learned"]
    assert code == 0
    assert report["bound"] == learned["bound"]
    plain = json.loads(say("evaluate", folder, "--json", "--samples", 30, "--code-prior", "own")[1])
    assert "priors" not in plain
    for name in ("kl", "bound", "bound_bits"):
        assert plain[name] == pytest.approx(own[name], rel=1e-5)
    assert "│ learned" in say("evaluate", folder, "--samples", 5)[1]
    pictures = []
    for options in ([], ["--code-prior", "own"], ["--code-prior", "learned"]):
        assert say("sample", folder, "--number", 8, "--out", tmp_path / "s.png", *options)[0] == 0
        pictures.append((tmp_path / "s.png").read_bytes())
    assert pictures[0] == pictures[2] != pictures[1]
    assert "complete" in say("complete", folder, "--code-prior", "own", "--weigh", "seen", "--help")[1]


def test_a_prior_is_gone_on_with_and_told_as_a_table(table: Path, tmp_path: Path, say: Say) -> None:
    folder = shutil.copytree(table, tmp_path / "run")
    assert say("fit-prior", folder, "two-stage", "--widths", 8, "--epochs", 1, *QUICK)[0] == 0
    code, out, err = say("fit-prior", folder, "two-stage", "--resume", "--epochs", 2, *QUICK)
    assert code == 0
    assert f"going on with {folder}/prior" in err
    assert "best epoch: " in out
    assert "│ two-stage │" in out
    assert "on 10 examples\n" in out
    assert len(pv.Run.load(folder / "prior", pv.recipes.vae((2,), latent=2, network="mlp", widths=(8,),
                                                          likelihood="normal-learned")).history) == 2  # fmt: skip


def test_ctrl_c_leaves_a_prior_that_goes_on(table: Path, tmp_path: Path, say: Say, ctrl_c: Any) -> None:
    folder = shutil.copytree(table, tmp_path / "run")
    with ctrl_c():
        code, _, err = say("fit-prior", folder, "flow", "--transforms", 1, "--epochs", 3, "--batch-size", 32, *QUICK)
    assert code == 1
    assert f"interrupted; go on with `polyvae fit-prior {folder} flow --resume`" in err
    note = f"{folder}/prior is not finished (0 of 3 epochs): the own prior of {folder} is taken; "
    assert f"note: {note}`polyvae fit-prior {folder} flow --resume` finishes it" in say("evaluate", folder, *FEW)[2]
    assert say("fit-prior", folder, "flow", "--resume", "--max-steps", 5, *QUICK)[0] == 0
    recorded = json.loads((folder / "prior" / "run.json").read_text())
    recorded["settings"]["max_steps"] = None  # as of one that was killed in its second epoch
    del recorded["sealed"]
    (folder / "prior" / "run.json").write_text(json.dumps(recorded))
    code, out, _ = say("evaluate", folder, "--json", *FEW)
    assert code == 0
    assert "(1 of 3 epochs): its best weights so far are taken; " in json.loads(out)["notes"][-1]
    assert "not finished" not in say("evaluate", folder, "--code-prior", "own", *FEW)[2]
    assert say("fit-prior", folder, "flow", "--resume", *QUICK)[0] == 0
    assert "not finished" not in say("evaluate", folder, *FEW)[2]


def test_a_prior_of_former_weights_is_told_how_it_is_fitted_again(table: Path, tmp_path: Path, say: Say) -> None:
    folder = shutil.copytree(table, tmp_path / "run")
    assert say("fit-prior", folder, "flow", "--transforms", 1, "--epochs", 1, *QUICK)[0] == 0
    assert say("train", "--resume", "--run", folder, "--epochs", 3)[0] == 0
    code, _, err = say("evaluate", folder, *FEW)
    assert code == 1
    again = f"train it again with `polyvae fit-prior {folder} flow`; sample, complete and evaluate go without by "
    assert f"its latents are others now. Remove {folder}/prior and {again}--code-prior own" in err
    assert say("evaluate", folder, "--code-prior", "own", *FEW)[0] == 0


def test_the_command_says_what_is_wrong(table: Path, tmp_path: Path, say: Say) -> None:
    folder = shutil.copytree(table, tmp_path / "run")
    wrong = {
        (2, "DIR, KIND"): [],
        (2, "KIND"): [folder],
        (2, "no prior is named mixtur; did you mean mixture?"): [folder, "mixtur"],
        (1, "is no run folder"): [tmp_path / "nowhere", "mixture"],
        (1, "no learned prior to go on with"): [folder, "mixture", "--resume"],
        (2, "--components: expected a whole number of at least 1"): [folder, "mixture", "--components", 0],
        (2, "--components: 900 normals need as many"): [folder, "mixture", "--components", 900],
        (2, "has no option --components; it is of mixture and vamp"): [folder, "flow", "--components", 3],
        (2, "has no option --solver; it is of flow-matching"): [folder, "mixture", "--solver", "rk4"],
        (2, "has no option --solve; did you mean --solver or"): [folder, "flow-matching", "--solve", "rk4"],
        (2, "--flow: expected one of nsf, maf"): [folder, "flow", "--flow", "glow"],
        (2, "--solver: expected one of heun, rk4"): [folder, "flow-matching", "--solver", "euler"],
        (2, "--samples: expected a whole number of at least 1"): [folder, "mixture", "--samples", 0],
    }
    for (code, words), arguments in wrong.items():
        found, _, err = say("fit-prior", *arguments)
        assert (found, words in err) == (code, True), (arguments, err)
    assert not (folder / "prior").exists()
    assert "\ncomponents: 2\n" in say("fit-prior", folder, "mixture", "--components", 2, *QUICK)[1]
    assert "add --resume to go on with it" in say("fit-prior", folder, "mixture")[2]


@pytest.mark.parametrize("kind", ["mixture", "vamp", "flow", "flow-matching", "two-stage"])
def test_every_prior_has_its_options_in_its_help(kind: str, say: Say) -> None:
    code, out, _ = say("fit-prior", "runs/first", kind, "--help")
    assert code == 0
    assert f"polyvae fit-prior runs/first {kind}" in out
    words = {"flow-matching": "--solver", "two-stage": "--top", "flow": "--transforms"}
    assert words.get(kind, "--components") in out
    assert ("(default: cosine)" in " ".join(out.split())) == (kind == "flow-matching")


def test_of_a_posterior_that_is_a_point_no_bound_is_told(tmp_path: Path, say: Say) -> None:
    folder = tmp_path / "run"
    line = ["--data", "digits", "--limit", 60, "--epochs", 1, "--latent", 2, "--network", "mlp", "--widths", 8]
    code, _, err = say("train", "rae", *line, "--run", folder)
    assert (code, "inf" in err) == (0, False), err
    code, out, _ = say("fit-prior", folder, "mixture", "--components", 2, *QUICK)
    assert (code, "inf " in out) == (0, False)
    assert "│ mixture │                 - │" in out
    assert "no bound: the posterior is a point" in out
    code, out, err = say("evaluate", folder, "--samples", 2)
    assert (code, err) == (0, "")
    assert "│ own     │        - │                 - │                  - │" in out
    assert "no bound: a posterior puts all its mass on a point" in out


def test_a_prior_that_costs_some_of_the_bound_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"importance_bound": -3.0, "frechet": None}
    told = {"own": {**row, "bound": -4.0}, "samples": 3, "examples": 10, "frechet_samples": 0}
    print_judged("mixture", {**told, "fitted": {**row, "bound": -7.3}})
    said = "the bound is 3.3 nats lower with it: fewer --components, or --code-prior own, which leaves it out\n"
    assert capsys.readouterr().out.endswith(said)
    for kind in ("flow", "vamp"):  # fewer pseudo-inputs cost more
        print_judged(kind, {**told, "fitted": {**row, "bound": -7.3}})
        assert capsys.readouterr().out.endswith("lower with it: --code-prior own, which leaves it out\n")
    print_judged("mixture", {**told, "components": 1, "fitted": {**row, "bound": -7.3}})
    assert capsys.readouterr().out.endswith("lower with it: --code-prior own, which leaves it out\n")
    for better in ({"bound": -3.9}, {"bound": -7.3, "importance_bound": -2.9}):
        print_judged("flow", {**told, "fitted": {**row, **better}})
        assert "lower with it" not in capsys.readouterr().out


def test_settings_that_a_closed_form_does_not_heed_are_told(say: Say, run: Path) -> None:
    code, _, err = say("fit-prior", run, "mixture", "--components", 2, "--epochs", 5, "--seed", 1, *QUICK)
    assert code == 0
    assert "a mixture is fitted at once, --epochs changed nothing" in err


def test_a_prior_of_a_run_trained_further_cannot_go_on(say: Say, run: Path) -> None:
    assert say("fit-prior", run, "flow", "--epochs", 1, "--transforms", 1, *QUICK)[0] == 0
    assert say("train", "--resume", "--run", run, "--epochs", 3)[0] == 0
    code, _, err = say("fit-prior", run, "flow", "--resume", "--epochs", 2, *QUICK)
    assert code == 1
    assert f"has been trained on since its prior was: its latents are others now. Remove {run / 'prior'}" in err
    assert "checksum" not in err


def test_help_without_a_kind_says_of_which_an_option_is_and_its_default_there(say: Say) -> None:
    help = " ".join(say("fit-prior", "--help")[1].split())
    assert "of mixture: how many normals; where none is given, 1, 5, 10, 20, 40 or 80, a tenth of the draws at" in help
    assert "; of vamp: how many pseudo-inputs, " in help
    assert "which begin as training examples (default: 500)" in help
    assert '--solver {heun,rk4} of flow-matching: "heun"' in help
