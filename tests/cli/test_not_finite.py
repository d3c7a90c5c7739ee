"""What is infinite or not a number is refused by name: an option, a weight, a result; never a dash and exit code 0."""

from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import polyvae as pv
from helpers.commands import TINY
from helpers.runs import pictures, small
from polyvae.cli import COMMANDS, main
from polyvae.evaluation import evaluate
from polyvae.objectives.schedules import Linear
from polyvae.objectives.terms import KL
from polyvae.recipes import RECIPES
from polyvae.training.store import WEIGHTS, read_tensors, write_tensors


def spoilt(folder: Path, value: float) -> str:
    """Puts the value into one weight of a run; the weight's name."""
    tensors, metadata = read_tensors(folder / WEIGHTS)
    name = next(name for name in sorted(tensors) if tensors[name].is_floating_point())
    tensors[name].view(-1)[0] = value
    write_tensors(folder / WEIGHTS, tensors, metadata)
    return name


def test_trap56_a_learning_rate_that_ends_in_nothing_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["train", "vae", *TINY, "--epochs", "1", "--batch-size", "1000", "--lr", "1e30"]
    assert main([*line, "--run", str(tmp_path / "run")]) == 1
    shown = capsys.readouterr()
    assert "validation loss = nan" in shown.err
    assert f"the last good state is in {tmp_path / 'run'}" in shown.err
    assert "smaller lr" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("command", [["evaluate", "--samples", "2"], ["sample"], ["reconstruct"]])
def test_trap56_weights_that_are_not_finite_are_named(
    command: list[str], value: float, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    name = spoilt(folder, value)
    assert main([command[0], str(folder), *command[1:]]) == 1
    shown = capsys.readouterr()
    assert name in shown.err
    assert str(folder / WEIGHTS) in shown.err
    assert "not finite" in shown.err
    assert not (folder / "evaluation.json").exists()


def test_trap56_a_report_names_weights_and_bounds_that_are_not_finite() -> None:
    data = pictures()
    recipe = small("vae", data)
    weight = next(recipe.model.parameters())
    with torch.no_grad():
        weight[0, 0] = torch.nan
    with pytest.raises(pv.NonFiniteError, match=r"weights posterior\.z\.\S+weight are not finite"):
        evaluate(recipe, data.validation, samples=2)
    with torch.no_grad():
        weight.fill_(3e38)
    with pytest.raises(pv.NonFiniteError, match="the plain bound of 12 of 12 examples is not a number"):
        evaluate(recipe, data.validation, samples=2)


def test_the_infinite_bound_of_a_point_stays_a_note() -> None:
    data = pictures()
    report = evaluate(small("ae", data), data.validation, samples=2)
    assert report["bound"] is None
    assert any("all its mass on a point" in note for note in report["notes"])


def numbers(name: str) -> list[str]:
    """The options of a recipe that are numbers with a fraction."""
    parameters = inspect.signature(RECIPES[name]).parameters.values()
    return [p.name for p in parameters if isinstance(p.default, float) or "float" in str(p.annotation)]


CASES = [(name, option) for name in sorted(RECIPES) for option in numbers(name)]


def test_there_are_options_to_try() -> None:
    assert len(CASES) > 15


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_trap56_every_number_of_the_command_line_is_finite(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [["train", name, "--data", "digits", f"--{option.replace('_', '-')}={value}"] for name, option in CASES]
    settings = ("lr", "weight-decay", "clip", "average", "save-every")
    lines += [["train", "vae", "--data", "digits", f"--{name}={value}"] for name in (*settings, "validation")]
    lines += [["sample", "runs/none", f"--temperature={value}"], ["train-prior", "runs/none", f"--lr={value}"]]
    for line in lines:
        assert main(line) == 2, line
        shown = capsys.readouterr()
        assert line[-1].partition("=")[0] in shown.err
        assert value in shown.err
    assert set(COMMANDS) >= {line[0] for line in lines}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(("name", "option"), CASES)
def test_trap56_every_number_of_a_recipe_is_finite(name: str, option: str, value: float) -> None:
    spec = pv.Spec((1, 8, 8), classes=3)
    with pytest.raises(ValueError, match=rf"{option} is a finite number; got {value}"):
        RECIPES[name](spec, **{option: value})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_trap56_a_weight_and_a_schedule_are_finite(value: float) -> None:
    makes: list[Any] = [lambda: pv.Weighted(KL(), value), lambda: Linear(0.0, value, 3), lambda: Linear(value, 1.0, 3)]
    for make in makes:
        with pytest.raises(ValueError, match="finite"):
            make()


def test_lists_and_tables_of_options_are_looked_through() -> None:
    with pytest.raises(ValueError, match="widths is a finite number"):
        RECIPES["vae"](pv.Spec((4,)), widths=[8, float("nan")])


def test_a_user_module_among_the_options_is_left_alone() -> None:
    net = nn.Linear(4, 4)
    with torch.no_grad():
        net.weight.fill_(torch.nan)
    assert RECIPES["vae"](pv.Spec((4,)), latent=2).call is not None
    assert json.dumps(RECIPES["vae"](pv.Spec((4,)), latent=2).call)
