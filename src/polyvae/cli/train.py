"""`polyvae train`: a recipe's own options, the data's and the training's, all flat."""

from __future__ import annotations

import ast
import contextlib
import inspect
import json
import shlex
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from math import ceil
from pathlib import Path
from typing import Any

from torch.multiprocessing.spawn import ProcessRaisedException

from polyvae import data
from polyvae.checks.ranges import LARGEST, Range
from polyvae.cli.options import Option, Parser, UsageError, advising, naming, options_of
from polyvae.cli.reading import named, near, read_path, within
from polyvae.cli.runs import check_place, described, device, printable, recorded_data
from polyvae.data import Data
from polyvae.data.columns.kinds import described as kinds
from polyvae.data.columns.roles import FEW
from polyvae.data.columns.table import is_number
from polyvae.data.sources.listing import unknown
from polyvae.model.families.named import LIKELIHOODS, POSTERIORS
from polyvae.model.networks import NETWORKS
from polyvae.objectives.terms import KERNELS
from polyvae.recipes import RECIPES, Recipe
from polyvae.recipes.parts import PRIORS
from polyvae.training.run import Run
from polyvae.training.settings import ELSEWHERE, Settings
from polyvae.training.store import DESCRIPTION, STATE, RunError, read_history

CHOICES = {
    "network": NETWORKS,
    "likelihood": LIKELIHOODS,
    "posterior": POSTERIORS,
    "prior": PRIORS,
    "kernel": KERNELS,
    "binarise": ("threshold", "fixed", "dynamic"),
}
FORMER = {f"--{name.replace('_', '-')}": f"--{now.replace('_', '-')}" for name, now in ELSEWHERE.items()}
EXAMPLE = """polyvae train {recipe} --data mnist --epochs 10 --run runs/first
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
Given = Mapping[str, Mapping[str, Any]]  # options given, by group and keyword
Groups = Mapping[str, Sequence[Option]]


def run(name: str, arguments: Sequence[str]) -> None:
    """The command: `polyvae train RECIPE --data NAME ...` or `polyvae train --resume --run DIR`."""
    recipe = arguments[0] if arguments and not arguments[0].startswith("-") else None
    if recipe is not None and recipe not in RECIPES:
        raise UsageError(f"no recipe is named {named(recipe)}{near(recipe, RECIPES)}; `polyvae recipes` lists them")
    groups = groups_of(recipe)
    parser = _parser(recipe)
    for title, options in groups.items():
        parser.add(_TITLES[title], options)
    found = parser.read(arguments[1:] if recipe else arguments)
    given = {
        title: {option.name: found[option.key] for option in options if option.key in found}
        for title, options in groups.items()
    }
    with advising([option for options in groups.values() for option in options]):
        if given["run"].get("resume"):
            made = _resume(recipe, given, groups)
        elif recipe is None:
            parser.error("which recipe? It comes first, as in `polyvae train vae`; `polyvae recipes` lists them")
        elif "name" not in given["data"]:
            parser.error("which data? --data takes a name of `polyvae datasets` or a path")
        else:
            made = _start(recipe, given, groups)
    _report(made, bool(given["run"].get("json")))


def groups_of(recipe: str | None) -> dict[str, list[Option]]:
    """The options by group, those of a recipe among them where it is known."""
    groups = {"run": RUN, "recipe": [], "data": data_options(), "settings": settings_options()}
    if recipe is not None:
        groups["recipe"] = recipe_options(recipe, {option.flag for group in groups.values() for option in group})
    return groups


def settings_options() -> list[Option]:
    """Those of `Settings`, of which a command takes one epoch at least: what nobody trained is of use in Python."""
    return [
        replace(each, read=within(each.read, POSITIVE)) if each.read and each.name == "epochs" else each
        for each in options_of(Settings, CHOICES)
    ]


def data_options() -> list[Option]:
    """Those of `data.load`, its name as --data."""
    # An empty --label says that there is none.
    found = [replace(each, read=str) if each.name == "label" else each for each in options_of(data.load, CHOICES)]
    return [option.called(*_DATA[option.name]) if option.name in _DATA else option for option in found]


def recipe_options(name: str, taken: set[str | None]) -> list[Option]:
    """A recipe's own options, then those it passes on; --recipe-NAME where another group has --NAME."""
    return [
        option.called(f"--recipe-{(option.flag or '').lstrip('-')}") if option.flag in taken else option
        for option in _open(RECIPES[name])
    ]


def _open(build: Callable[..., Any]) -> list[Option]:
    """The options that a function declares, then those that its source passes on by **options and does not settle."""
    build = inspect.unwrap(build)
    found = options_of(build, CHOICES)
    for call in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(build)))):
        if isinstance(call, ast.Call) and any(each.arg is None for each in call.keywords):
            settled = {option.name for option in found} | {each.arg for each in call.keywords}
            passed_on = eval(ast.unparse(call.func), build.__globals__)
            found += [option for option in _open(passed_on) if option.name not in settled]
    return found


def _parser(recipe: str | None) -> Parser:
    if recipe is None:
        text = (
            f"Trains a recipe on data and keeps the run in a folder.\n\nrecipes: {', '.join(sorted(RECIPES))}\n"
            "`polyvae train RECIPE --help` lists the options of one, `polyvae recipes` their papers."
        )
    else:
        text = inspect.cleandoc(RECIPES[recipe].__doc__ or "")
    prog = "polyvae train" if recipe is None else f"polyvae train {recipe}"
    usage = (
        f"polyvae train {recipe or 'RECIPE'} --data NAME [options]\n       polyvae train --resume --run DIR [options]"
    )
    return Parser(prog, usage, text, EXAMPLE.format(recipe=recipe or "vae"), FORMER)


def _start(name: str, given: Given, groups: Groups) -> Run:
    """A new run in the folder asked for, or in the next free one."""
    settings = settings_of({}, given["settings"], groups["settings"])
    where = given["data"]["name"]
    if where not in data.names() and not _exists(Path(where).expanduser()):
        raise UsageError(str(unknown(where)))
    folder = given["run"].get("run")
    if folder is not None and (folder / DESCRIPTION).exists():
        raise RunError(f"{folder} already holds a run; add --resume to go on with it, or give another --run")
    with naming(groups["data"]):
        loaded = data.load(**given["data"])
        if not len(loaded.validation):
            raise ValueError("validation: at least one example has to be left to choose the best epoch by; got none")
    settings = settings.resolved(len(loaded.train))
    recipe = _recipe(name, loaded, given["recipe"], settings, groups["recipe"])
    check_machine(settings)
    check_place(folder or Path("runs"), folder=True)
    folder = folder or _next_folder(f"{name}-{Path(loaded.name).stem}")
    try:
        return _fit(recipe, loaded, folder, settings, resume=False)
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # only if nothing was put into it


def _resume(name: str | None, given: Given, groups: Groups) -> Run:
    """The run in a folder gone on with: what it recorded, and over it what is given now."""
    folder = given["run"].get("run")
    if folder is None:
        raise UsageError("which run? --resume needs --run DIR")
    description = described(folder)
    recorded = description["recipe"]
    if name not in (None, recorded["name"]):
        raise UsageError(f"{folder} holds a run of {recorded['name']}, not of {name}")
    settings = settings_of(description["settings"], given["settings"], groups["settings"])
    asked = dict(given["data"])
    with naming(groups["data"]):
        loaded = recorded_data(folder, description["data"], asked.pop("data_dir", None), **asked)
    done = len(read_history(folder / STATE))
    if done > (settings.epochs or 0):
        raise UsageError(f"--epochs: {folder} has {done} epochs already, more than the {settings.epochs} asked for")
    if done == settings.epochs:
        more = (
            "ask for more with --epochs"
            if settings.schedule == "constant"
            else f"its {settings.schedule} schedule ends there, for more train a new run"
        )
        print(f"polyvae: note: {folder} has all its {done} epochs; {more}", file=sys.stderr)
    options = {key: value for key, value in recorded["options"].items() if key != "seed"}
    recipe = _recipe(recorded["name"], loaded, {**options, **given["recipe"]}, settings, groups["recipe"])
    check_machine(settings)
    return _fit(recipe, loaded, folder, settings, resume=True)


def settings_of(recorded: Mapping[str, Any], given: Mapping[str, Any], options: Sequence[Option]) -> Settings:
    """What a run recorded, and over it what is given; UsageError that names the option of a bad value."""
    known = {field.name for field in fields(Settings)}
    kept = {key: value for key, value in recorded.items() if key in known}
    with naming(options):
        settings = Settings(**{**kept, **given})
    device(settings.device)
    return settings


def check_machine(settings: Settings) -> None:
    """ValueError for what this machine has not; asked before anything is begun."""
    from polyvae.training.devices import kind_of  # slow to import: after every mistake in the line

    kind_of(settings)


def _recipe(name: str, loaded: Data, options: Mapping[str, Any], settings: Settings, known: Sequence[Option]) -> Recipe:
    try:
        with naming(known):
            return RECIPES[name](loaded.spec, seed=settings.seed, **options)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{name}: {error}") from error


def _fit(recipe: Recipe, loaded: Data, folder: Path, settings: Settings, resume: bool) -> Run:
    from polyvae import fit  # the slowest import of all: after every mistake has had its chance

    chosen = {field.name: getattr(settings, field.name) for field in fields(settings)}
    doing = "going on with" if resume else "training in"
    cut = f", {loaded.cut}" if loaded.cut else ""
    if classes := loaded.spec.classes:
        label = f" by {loaded.call['label']}" if loaded.call.get("label") else ""
        cut = f" in {classes:,} class{'' if classes == 1 else 'es'}{label}{cut}"
    print(f"{doing} {folder}: {len(loaded.train):,} training examples of {loaded.name}{cut}", file=sys.stderr)
    if columns := loaded.spec.columns:
        what = "column" if len(loaded.spec.x) == 1 else "channel"
        plural = "" if len(columns) == 1 else "s"
        print(f"{len(columns):,} {what}{plural}: {kinds(columns)}; other kinds by --kind", file=sys.stderr)
        if found := _could_be_labels(loaded):
            are = "is" if len(found) == 1 else "are"
            hint = f"if one is a label, name it: --label {shlex.quote(found[0])}"
            print(f"{', '.join(found)} {are} modelled like other columns; {hint}", file=sys.stderr)
    try:
        made = fit(recipe, loaded, folder, resume=resume, progress=True, **chosen)
        _say_stopped(made, loaded, settings)
        return made
    except KeyboardInterrupt:
        if (folder / STATE).exists():
            command = f"polyvae train --resume --run {shlex.quote(str(folder))} --epochs {settings.epochs}"
            raise KeyboardInterrupt(f"interrupted; go on with `{command}`") from None
        raise
    except ProcessRaisedException as error:
        last = str(error).strip().splitlines()[-1]  # of the traceback of another process
        raise RuntimeError(last.partition(": ")[2] or last) from error


def _say_stopped(made: Run, loaded: Data, settings: Settings) -> None:
    """Where --max-steps ended the training within an epoch: at which step of how many, and how to go on."""
    steps, total = settings.max_steps, (settings.epochs or 0) * ceil(len(loaded.train) / settings.batch_size)
    impatient = settings.patience is not None and len(made.history) - (made.best_epoch or 0) >= settings.patience
    if made.recipe.solve is not None or steps is None or steps >= total or impatient:
        return
    bound = "" if made.history else ", within the first epoch, so that there is no bound yet"
    again = f"polyvae train --resume --run {shlex.quote(str(made.folder))} --max-steps {total}"
    said = f"stopped at step {steps:,} of {total:,} (--max-steps){bound}: `{again}` goes on"
    print(f"polyvae: note: {said}", file=sys.stderr)


def _could_be_labels(loaded: Data) -> list[str]:
    """The columns of text of a few different values, where there is no label and none was refused (--label "")."""
    if loaded.spec.classes is not None or "label" in loaded.call:
        return []
    texts = [column for column in loaded.spec.columns if column.labels and not all(map(is_number, column.labels))]
    return [str(column.name) for column in texts if 2 <= len(column.labels or ()) <= FEW]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that no file system takes
        return False


def _next_folder(stem: str) -> Path:
    """runs/STEM-N for the first free N, made here so that two trainings started together do not share it."""
    number = 1
    while True:
        folder = Path("runs") / f"{stem}-{number}"
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1


def _report(made: Run, as_json: bool) -> None:
    monitor = made.recipe.monitor
    name, best = f"validation_{monitor}", made.best or {}
    result = {
        "run": str(made.folder),
        "recipe": made.description["recipe"],
        "epochs": len(made.history),
        "best_epoch": best.get("epoch"),
        name: best.get(name),
        "best": best,
    }
    if as_json:
        print(json.dumps(printable(result)))
        return
    print(f"run: {made.folder}")
    if best:
        of = f"best epoch: {best['epoch']} of {len(made.history)}\n" if best["epoch"] else ""
        unit = "nats an example on the validation part"
        print(f"{of}{'plain bound' if monitor == 'bound' else monitor}: {best[name]:.3f} {unit}{_advice(made)}")
    print(f"next: polyvae evaluate {shlex.quote(str(made.folder))}")


def _advice(made: Run) -> str:
    """What the place of the best epoch says of how long to train."""
    best, last, settings = made.best_epoch or 0, len(made.history), made.description["settings"]
    if best == last and settings["schedule"] == "constant" and settings["max_steps"] is None:
        line = shlex.quote(str(made.folder))
        return f"\nthe last epoch is the best yet: polyvae train --resume --run {line} --epochs {2 * last} goes on"
    if 0 < 2 * best < last and settings["patience"] is None:
        return f"\nwhat came after epoch {best} was no better: --patience {max(5, best // 2)} stops earlier"
    return ""


_TITLES = {"run": "the run", "recipe": "the recipe", "data": "the data", "settings": "how it is trained"}
_DATA = {
    "name": ("--data", "a name of `polyvae datasets`, or a path to .npy, .npz, .csv, .parquet or a folder of pictures"),
    "data_dir": ("--data-dir", "where the files lie, in DIR/NAME; else $POLYVAE_DATA and the user's cache"),
    "centre": ("--no-centre", "resize whole pictures, without cutting the square in their middle first"),
    "seed": ("--data-seed", "of the cuts into parts and of what is drawn once"),
    "download": ("--no-download", "fail where files are missing rather than fetch them"),
}
