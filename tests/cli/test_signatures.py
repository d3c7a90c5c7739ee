"""Signatures read from source: without torch, and the same as those of the functions themselves."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest

from polyvae import data
from polyvae.cli.commands import PLACES
from polyvae.cli.options import Option, options_of
from polyvae.cli.signatures import functions, recipes
from polyvae.recipes import RECIPES
from polyvae.recipes.options import CHOICES
from polyvae.recipes.sources import passed_on

HELPS = """
import contextlib, io, sys
from polyvae.cli import main
for line in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(line.split()) == 0, line
    assert "torch" not in sys.modules, line
"""


def said(options: list[Option]) -> list[tuple[Any, ...]]:
    return [(each.name, each.flag, each.metavar, each.help, each.default, each.choices) for each in options]


def outcomes(options: list[Option]) -> list[Any]:
    """What the options make of some texts, or say of them."""
    found: list[Any] = []
    for option in options:
        for text in ("0", "-1", "1", "2.5", "1,2", "conv", "nan", "x"):
            try:
                found.append(option.read and option.read(text))
            except ValueError as error:
                found.append(str(error))
    return found


def test_no_help_and_no_list_imports_torch() -> None:
    places = [*PLACES, "train", "train-prior", "fit-prior", *(f"train {recipe}" for recipe in RECIPES)]
    lines = ["--help", "recipes", "datasets", "completion bash", *(f"{place} --help" for place in places)]
    subprocess.run([sys.executable, "-c", HELPS, *lines], check=True)


def test_all_recipes_are_read() -> None:
    assert set(recipes()) == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_reads_as_it_is(name: str) -> None:
    read, live = recipes()[name], inspect.unwrap(RECIPES[name])
    assert read is not live
    assert read.__doc__ == live.__doc__
    assert said(options_of(read, CHOICES)) == said(options_of(live, CHOICES))
    assert outcomes(options_of(read, CHOICES)) == outcomes(options_of(live, CHOICES))
    further = [[(function.__name__, settled) for function, settled in passed_on(each)] for each in (read, live)]
    assert further[0] == further[1]


def test_what_data_take_reads_as_it_is() -> None:
    read = options_of(functions("data/loading.py")["load"])
    assert said(read) == said(options_of(data.load))
    assert outcomes(read) == outcomes(options_of(data.load))


def test_what_is_typed_in_is_read_as_far_as_it_goes() -> None:
    found: dict[str, Any] = {}
    exec("def typed(spec, latent: int = 3, **options): return vae(spec, **options)", found)
    assert [option.flag for option in options_of(found["typed"])] == ["--latent"]
    assert list(passed_on(found["typed"])) == []
