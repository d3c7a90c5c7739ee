"""Recipes of a user's own module at the commands: found by --from, recorded, and never run because a folder says so."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import polyvae as pv
from polyvae.cli import main
from polyvae.cli.modules import MOVED
from polyvae.recipes import RECIPES
from polyvae.training.store import DESCRIPTION

SOURCE = '''
"""A recipe of its own."""
import polyvae as pv

print("it runs")


@pv.recipes.recipe
def small_vae(spec: pv.Spec, twice: int = 2, **options) -> pv.Recipe:
    """A small one.

    `twice`: half of the latents.
    """
    return pv.recipes.vae(spec, latent=2 * twice, network="mlp", widths=[8], **options)
'''


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with the module, which is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "small_recipes.py").write_text(SOURCE)
    yield tmp_path
    forget()


def forget() -> None:
    RECIPES.pop("small_vae", None)
    sys.modules.pop("small_recipes", None)


TRAIN = ["--data", "digits", "--limit", "60", "--epochs", "1", "--run", "run"]


def said(capsys: Any, *arguments: str) -> tuple[int, str]:
    code = main(arguments)
    found = capsys.readouterr()
    return code, found.out + found.err


@pytest.mark.parametrize("source", ["small_recipes", "small_recipes.py", "./small_recipes.py"])
def test_a_recipe_of_ones_own_trains_resumes_and_is_evaluated(source: str, place: Path, capsys: Any) -> None:
    assert said(capsys, "train", "small_vae", "--twice", "3", "--from", source, *TRAIN)[0] == 0
    described = json.loads((place / "run" / DESCRIPTION).read_text())
    assert described["recipe"]["name"] == "small_vae"
    assert described["module"] == {"name": "small_recipes", "file": str(place / "small_recipes.py")}
    forget()
    for command in (["train", "--resume", "--run", "run", "--epochs", "2"], ["evaluate", "run", "--samples", "2"]):
        code, text = said(capsys, *command)
        assert code == 1
        assert f"add --from {place / 'small_recipes.py'} to the command" in text
        assert "it runs" not in text
        assert said(capsys, *command, f"--from={source}")[0] == 0
        forget()
    with pytest.raises(pv.RunError, match="import small_recipes first"):
        pv.Run.load("run")


WRONG = {
    "no value": (["--from"], "--from takes the name of a module, or the path of its .py file; got ''"),
    "an option": (["--from", "--json"], "--from takes the name of a module"),
    "no file": (["--from", "none.py"], "--from none.py: there is no such file"),
    "no module": (["--from", "no_such_module"], "--from no_such_module: no module of that name is found"),
    "broken": (["--from", "broken.py"], "--from broken.py: importing it failed: ZeroDivisionError"),
    "an import": (["--from", "needs.py"], "--from needs.py: it imports not_there_at_all, which is not installed"),
    "an old import": (["--from", "older.py"], "it imports polyvae.terms, which is polyvae.objectives.terms now"),
    "a name taken": (["--from", "json.py"], "--from json.py: a module named json is there already"),
    "a recipe's name taken": (["--from", "taken.py"], "polyvae has a recipe named vae already"),
}


@pytest.mark.parametrize("which", WRONG)
def test_a_module_that_cannot_be_had_is_named(which: str, place: Path, capsys: Any) -> None:
    (place / "broken.py").write_text("1 / 0")
    (place / "needs.py").write_text("import not_there_at_all")
    (place / "older.py").write_text("from polyvae.terms import KL")
    (place / "json.py").write_text("")
    (place / "taken.py").write_text(
        "import polyvae as pv\n\n@pv.recipes.recipe\ndef vae(spec):\n    '''Another.'''\n    return None\n"
    )
    arguments, message = WRONG[which]
    code, text = said(capsys, "recipes", *arguments)
    assert code == 2
    assert message in text
    assert RECIPES["vae"].__module__.startswith("polyvae")


@pytest.mark.parametrize("old", MOVED)
def test_what_moved_is_where_the_message_and_the_changelog_say(old: str) -> None:
    assert find_spec(MOVED[old]) is not None
    with pytest.raises(ModuleNotFoundError):
        import_module(old)
    changelog = (Path(__file__).parents[2] / "CHANGELOG.md").read_text()
    assert f"`{old}` -> `{MOVED[old]}`" in " ".join(changelog.split())


def test_own_recipes_are_listed_and_have_help(place: Path, capsys: Any) -> None:
    assert "small_vae" in said(capsys, "recipes", "--from", "small_recipes")[1]
    code, text = said(capsys, "train", "small_vae", "--from", "small_recipes", "--help")
    assert code == 0
    assert "--twice" in text
    assert "--likelihood" in text
    assert "--from MODULE" in text


def test_a_recipe_over_another_shows_what_that_one_adds_and_what_it_settles_not(place: Path, capsys: Any) -> None:
    source = SOURCE.replace("recipes.vae(spec, latent=2 * twice,", "recipes.beta_vae(spec, latent=2 * twice,")
    (place / "small_recipes.py").write_text(source)
    text = said(capsys, "train", "small_vae", "--from", "small_recipes", "--help")[1]
    assert all(flag in text for flag in ("--twice", "--beta", "--free-bits", "--likelihood"))
    assert "--latent" not in text
    assert "--widths" not in text
