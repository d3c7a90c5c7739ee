"""`polyvae train`: a recipe's own options, the data's and the training's, all flat."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from polyvae.checks.ranges import LARGEST, Range
from polyvae.cli.options import Option, Parser, advising, options_of, without_options
from polyvae.cli.reading import KINDS, check_known, first_of, read_path, within
from polyvae.cli.signatures import functions, recipes
from polyvae.data.options import Options
from polyvae.recipes.called import meant
from polyvae.recipes.flat import accepted, belongs, describe
from polyvae.recipes.options import CHOICES, OF_MODALITIES, OF_SENSORS
from polyvae.recipes.several import reads_modalities
from polyvae.training.settings import ELSEWHERE, Settings

FORMER = {f"--{name.replace('_', '-')}": f"--{now.replace('_', '-')}" for name, now in ELSEWHERE.items()}
EXAMPLE = """polyvae train {recipe} --data {data} --epochs 10 --run runs/first
polyvae train --resume --run runs/first --epochs 20"""
RUN = [
    Option(
        "run",
        "--run",
        read_path,
        "DIR",
        "a new folder; runs/RECIPE-DATA-N, N the next free number, where none is given",
        None,
    ),
    Option(
        "resume", "--resume", None, "", "go on with the run in DIR as if it had not stopped; --epochs may rise", False
    ),
    Option("json", "--json", None, "", "print the result as one JSON document", False),
]
POSITIVE = Range(1, LARGEST, whole=True)


def run(name: str, arguments: Sequence[str]) -> None:
    """The command: `polyvae train RECIPE --data NAME ...` or `polyvae train --resume --run DIR`."""
    recipe = arguments[0] if arguments and not arguments[0].startswith("-") else None
    if recipe is not None:
        check_known("recipe", recipe, recipes(), "`polyvae recipes` lists them", meant(recipe))
    groups = groups_of(recipe)
    parser = _parser(recipe)
    for title, options in groups.items():
        parser.add(_TITLES[title], options)
    found = parser.read(arguments[1:] if recipe else arguments)
    given = {
        title: {option.name: found[option.key] for option in options if option.key in found}
        for title, options in groups.items()
    }
    if not given["run"].get("resume"):
        if recipe is None:
            parser.error("which recipe? It comes first, as in `polyvae train vae`; `polyvae recipes` lists them")
        if "name" not in given["data"]:
            parser.error("which data? --data takes a name of `polyvae datasets` or a path")
    from polyvae.cli import fitting, outcome  # with torch: after the line is read

    with advising([option for options in groups.values() for option in options]):
        made = fitting.fitted(recipe, given, groups)
    outcome.report(made, bool(given["run"].get("json")))


def groups_of(recipe: str | None) -> dict[str, list[Option]]:
    """The options by group, those of a recipe among them where it is known."""
    groups = {"run": RUN, "recipe": [], "data": data_options(), "settings": settings_options()}
    if recipe is not None:
        groups["recipe"] = recipe_options(recipe, {option.flag for group in groups.values() for option in group})
    return groups


@cache
def settings_options() -> list[Option]:
    """Those of `Settings`, of which a command takes one epoch at least: what nobody trained is of use in Python."""
    return [
        replace(each, read=within(first_of([KINDS[int]]), POSITIVE)) if each.name == "epochs" else each
        for each in options_of(Settings, ranged=False)  # it refuses what is out of range itself
    ]


@cache
def data_options() -> list[Option]:
    """Those of `data.load`, its name as --data."""
    choices = {"binarise": ("threshold", "fixed", "dynamic")}
    found = [*options_of(functions("data/loading.py")["load"]), *options_of(Options, choices)]
    # An empty --label says that there is none.
    found = [replace(each, read=str) if each.name == "label" else each for each in found]
    return [option.called(*_DATA[option.name]) if option.name in _DATA else option for option in found]


def recipe_options(name: str, taken: set[str | None]) -> list[Option]:
    """A recipe's own options, then those it passes on; --recipe-NAME where another group has --NAME."""
    return [
        option.called(f"--recipe-{(option.flag or '').lstrip('-')}") if option.flag in taken else option
        for option in _declared(recipes()[name])
    ]


@cache
def _declared(build: Callable[..., Any]) -> list[Option]:
    sensors = "positions" in accepted(inspect.unwrap(build))[0]
    choices = OF_MODALITIES if reads_modalities(build) else OF_SENSORS if sensors else CHOICES
    return options_of(describe(lambda: None, build), choices)


def _parser(recipe: str | None) -> Parser:
    if recipe is None:
        text = (
            f"Trains a recipe on data and keeps the run in a folder.\n\nrecipes: {', '.join(sorted(recipes()))}\n\n"
            "`polyvae train RECIPE --help` lists the options of one, `polyvae recipes` their papers."
        )
    else:
        text = without_options(inspect.cleandoc(recipes()[recipe].__doc__ or ""))
    prog = "polyvae train" if recipe is None else f"polyvae train {recipe}"
    usage = (
        f"polyvae train {recipe or 'RECIPE'} --data NAME [options]\n       polyvae train --resume --run DIR [options]"
    )

    def hint(flag: str) -> str:
        name = flag.lstrip("-").replace("-", "_")
        return "" if recipe is None else belongs(recipes()[recipe], name, lambda each: f"--{each}")

    several = recipe is not None and reads_modalities(recipes()[recipe])
    example = EXAMPLE.format(recipe=recipe or "vae", data="mnist-svhn" if several else "mnist")
    return Parser(prog, usage, text, example, FORMER, hint)


_TITLES = {"run": "the run", "recipe": "the recipe", "data": "the data", "settings": "how it is trained"}
_DATA = {
    "name": ("--data", "a name of `polyvae datasets`, or a path to .npy, .npz, .csv, .parquet or a folder of pictures"),
    "data_dir": ("--data-dir", "where the files lie, in DIR/NAME; else $POLYVAE_DATA and the user's cache"),
    "centre": ("--no-centre", "resize whole pictures, without cutting the square in their middle first"),
    "seed": ("--data-seed", "of the cuts into parts and of what is drawn once"),
    "download": ("--no-download", "fail where files are missing rather than fetch them"),
}
