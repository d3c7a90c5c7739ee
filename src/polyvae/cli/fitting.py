"""What `polyvae train` does once its line is read: a new run, or one gone on with."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from math import ceil
from pathlib import Path
from typing import Any

from torch.multiprocessing.spawn import ProcessRaisedException

from polyvae import data
from polyvae.cli.options import Option, naming
from polyvae.cli.reading import UsageError
from polyvae.cli.runs import check_place, described, device, recorded_data
from polyvae.data import Data
from polyvae.data.columns.kinds import described as kinds
from polyvae.data.columns.labels import KNOWN
from polyvae.data.columns.roles import FEW
from polyvae.data.columns.table import is_number
from polyvae.data.history import remembered
from polyvae.data.loading import without_gap_notes
from polyvae.data.modalities.groups import groups_of
from polyvae.data.sources.listing import unknown
from polyvae.evaluation.blocks import check_gaps
from polyvae.recipes import RECIPES, Recipe
from polyvae.recipes.catalogue import current, is_own
from polyvae.training.run import Run
from polyvae.training.settings import ENDLESS, Settings
from polyvae.training.store import DESCRIPTION, STATE, RunError, read_history, read_spent

Given = Mapping[str, Mapping[str, Any]]  # options given, by group and keyword
Groups = Mapping[str, Sequence[Option]]
OF_SOLVED = ("seed", "device")  # settings that a closed form heeds
# Of a closed form that completes: see docs/fields.md.
NO_MEASURE = (
    "the bound is no measure here, each value has a scale of its own and no error is shared: judge its completions"
)


def fitted(name: str | None, given: Given, groups: Groups) -> Run:
    """The run of a line that names a recipe, or --resume and the folder of a run."""
    if name is None or given["run"].get("resume"):
        return _gone_on_with(name, given, groups)
    return _begun(name, given, groups)


def _begun(name: str, given: Given, groups: Groups) -> Run:
    """A new run in the folder asked for, or in the next free one."""
    settings = settings_of({}, given["settings"], groups["settings"])
    where = given["data"]["name"]
    if where not in data.names() and not os.path.exists(os.path.expanduser(where)):
        raise UsageError(str(unknown(where)))
    folder = given["run"].get("run")
    if folder is not None and (folder / DESCRIPTION).exists():
        raise RunError(f"{folder} already holds a run; add --resume to go on with it, or give another --run")
    with naming(groups["data"]):
        loaded = _with_gaps(given["data"])
        if not len(loaded.validation):
            raise ValueError("validation: at least one example has to be left to choose the best epoch by; got none")
    settings = settings.resolved(len(loaded.train))
    if loaded.spec.modalities:
        _check_read(name, given["data"], loaded)
    recipe = _recipe(name, loaded, given["recipe"], settings, _known(groups))
    loaded = remembered(loaded, recipe.observe)
    if recipe.solve is not None and (vain := in_vain(given["settings"], groups["settings"])):
        print(f"polyvae: note: {name} is fitted at once, {vain} changed nothing", file=sys.stderr)
    if loaded.missing and not given["data"].get("gaps"):
        with naming(groups["data"]):
            check_gaps(recipe.model, *loaded.parts.values(), columns=loaded.spec.columns, where=where)
        print(f"{loaded.missing:.1%} of the values of x are missing, and kept as gaps", file=sys.stderr)
    check_machine(settings)
    check_place(folder or Path("runs"), folder=True)
    folder = folder or _next_folder(f"{name}-{Path(loaded.name).stem}")
    try:
        return _fit(recipe, loaded, folder, settings, resume=False)
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # only if nothing was put into it


def _with_gaps(asked: Mapping[str, Any]) -> Data:
    """The data asked for with their gaps, unless rows with one are left out: which recipes take them shows later."""
    if asked.get("gaps") or asked.get("skip_bad"):
        return data.load(**asked)
    # A refusal is told of the data as they were asked for.
    with without_gap_notes(), contextlib.suppress(data.DataError):
        return data.load(**asked, gaps=True)
    return data.load(**asked)


def _gone_on_with(name: str | None, given: Given, groups: Groups) -> Run:
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
        _check_modalities(description["data"].get("call") or {}, asked)
        loaded = recorded_data(folder, description["data"], asked.pop("data_dir", None), **asked)
    options = {key: value for key, value in current(recorded)["options"].items() if key != "seed"}
    recipe = _recipe(recorded["name"], loaded, {**options, **given["recipe"]}, settings, _known(groups))
    loaded = remembered(loaded, recipe.observe)
    if recipe.solve is None:
        _say_done(folder, settings)
    else:
        vain = in_vain(given["settings"], groups["settings"])
        said = f"nothing of it is left to train{vain and f', {vain} changed nothing'}"
        print(f"polyvae: note: {recorded['name']} is fitted at once: {said}", file=sys.stderr)
    check_machine(settings)
    return _fit(recipe, loaded, folder, settings, resume=True)


def in_vain(given: Mapping[str, Any], options: Sequence[Option]) -> str:
    """The options among those given that a closed form does not heed, "" for none."""
    return ", ".join(str(each.flag) for each in options if each.name in given and each.name not in OF_SOLVED)


def _say_done(folder: Path, settings: Settings) -> None:
    """What a run that has all its epochs or minutes needs to go on; UsageError where it has more than asked for."""
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
    elif _late(folder, settings):
        more = "ask for more with --minutes" if settings.schedule == "constant" else "for more train a new run"
        print(f"polyvae: note: {folder} has had all its {settings.minutes:g} minutes; {more}", file=sys.stderr)


def _check_modalities(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """ValueError for other modalities than the run has."""
    if "modalities" in asked and (now := groups_of(asked["modalities"])) != (
        then := groups_of(recorded.get("modalities"))
    ):
        said = [",".join(f"{name}={'+'.join(columns)}" for name, columns in each.items()) for each in (then, now)]
        raise ValueError(f"modalities: {said[0] or 'none named'} then, {said[1]} now; for others train a new run")


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


def _check_read(name: str, asked: Mapping[str, Any], loaded: Data) -> None:
    """UsageError for options of the data that change nothing where these are of several modalities."""
    if asked.get("gaps") and KNOWN not in loaded.train.tensors:
        raise UsageError("--gaps is for one x; a row has a modality as a whole, or is taken to lack it")
    if asked.get("beside") and not is_own(RECIPES[name]):
        how = f"make {asked['beside']} a modality, or leave it away"
        raise UsageError(f"--beside: {name} reads modalities, and nothing beside them; {how}")


def _known(groups: Groups) -> list[Option]:
    """The options that a recipe may refuse: its own, and what the data are made of."""
    return [*groups["recipe"], *(each for each in groups["data"] if each.name == "modalities")]


def _recipe(name: str, loaded: Data, options: Mapping[str, Any], settings: Settings, known: Sequence[Option]) -> Recipe:
    try:
        with naming(known):
            return RECIPES[name](loaded, seed=settings.seed, **options)
    except (ValueError, TypeError) as error:
        said = str(error)
        raise UsageError(said if said.startswith(f"{name} ") else f"{name}: {said}") from error


def _fit(recipe: Recipe, loaded: Data, folder: Path, settings: Settings, resume: bool) -> Run:
    from polyvae import fit  # the slowest import of all: after every mistake has had its chance

    doing = "going on with" if resume else "training in"
    cut = f", {loaded.cut}" if loaded.cut else ""
    if classes := loaded.spec.classes:
        label = f" by {loaded.call['label']}" if loaded.call.get("label") else ""
        cut = f" in {classes:,} class{'' if classes == 1 else 'es'}{label}{cut}"
    print(f"{doing} {folder}: {len(loaded.train):,} training examples of {loaded.name}{cut}", file=sys.stderr)
    if loaded.lacking:
        print(loaded.lacking, file=sys.stderr)
    for modality, spec in loaded.spec.values.items():
        if not (columns := spec.columns):
            continue
        what = "column" if len(spec.x) == 1 else "channel"
        plural, of = "" if len(columns) == 1 else "s", f" of {modality}" if loaded.spec.modalities else ""
        print(f"{len(columns):,} {what}{plural}{of}: {kinds(columns)}; other kinds by --kind", file=sys.stderr)
        if found := _could_be_labels(loaded):
            are = "is" if len(found) == 1 else "are"
            hint = f"if one is a label, name it: --label {shlex.quote(found[0])}"
            print(f"{', '.join(found)} {are} modelled like other columns; {hint}", file=sys.stderr)
    try:
        made = fit(recipe, loaded, folder, resume=resume, progress=True, settings=settings)
        _say_stopped(made, loaded, settings)
        return made
    except KeyboardInterrupt:
        if (folder / STATE).exists():
            epochs = "" if settings.epochs == ENDLESS else f" --epochs {settings.epochs}"
            minutes = "" if settings.minutes is None else f" --minutes {settings.minutes:g}"
            command = f"polyvae train --resume --run {shlex.quote(str(folder))}{epochs}{minutes}"
            raise KeyboardInterrupt(f"interrupted; go on with `{command}`") from None
        raise
    except ProcessRaisedException as error:
        last = str(error).strip().splitlines()[-1]  # of the traceback of another process
        raise RuntimeError(last.partition(": ")[2] or last) from error


def _say_stopped(made: Run, loaded: Data, settings: Settings) -> None:
    """Where --max-steps ended the training within an epoch: at which step of how many, and how to go on."""
    steps, total = settings.max_steps, (settings.epochs or 0) * ceil(len(loaded.train) / settings.batch_size)
    impatient = settings.patience is not None and len(made.history) - (made.best_epoch or 0) >= settings.patience
    late = made.folder is not None and _late(made.folder, settings)
    if made.recipe.solve is not None or steps is None or steps >= total or impatient or late:
        return
    bound = "" if made.history else ", within the first epoch, so that there is no bound yet"
    more, of = (2 * steps, "") if settings.epochs == ENDLESS else (total, f" of {total:,}")
    again = f"polyvae train --resume --run {shlex.quote(str(made.folder))} --max-steps {more}"
    said = f"stopped at step {steps:,}{of} (--max-steps){bound}: `{again}` goes on"
    print(f"polyvae: note: {said}", file=sys.stderr)


def _late(folder: Path, settings: Settings) -> bool:
    """Whether a run has had the minutes that it may take."""
    return settings.minutes is not None and read_spent(folder / STATE) >= 60 * settings.minutes


def _could_be_labels(loaded: Data) -> list[str]:
    """The columns of text of a few different values, where there is no label and none was refused (--label "")."""
    if loaded.spec.classes is not None or "label" in loaded.call:
        return []
    texts = [column for column in loaded.spec.columns if column.labels and not all(map(is_number, column.labels))]
    return [str(column.name) for column in texts if 2 <= len(column.labels or ()) <= FEW]


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
