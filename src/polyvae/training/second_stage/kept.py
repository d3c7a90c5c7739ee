"""Where a prior that was fitted to a run lies, and whether it is still of the weights that it was fitted to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from math import inf
from pathlib import Path
from typing import Any

from torch import nn

from polyvae.data.files.hashes import file_hash
from polyvae.data.files.sealed import read_values
from polyvae.model.vae import VAE
from polyvae.training.run import Run
from polyvae.training.settings import Settings
from polyvae.training.store import DESCRIPTION, STATE, WEIGHTS, RunError, read_description

OF_VECTORS = "fit-prior "  # before the kind, where a prior's run records its recipe
PRIOR = "prior"  # the folder of the fitted prior within that of the run
MATCHED = "fit-completion"  # what the run of a completion records as its recipe
COMPLETION = "completion"  # its folder within that of the run


def place_of(run: Run, level: str | None = None) -> Path | None:
    """The folder of a run's prior, or of that of one of several latents; None of a run that has none."""
    if run.folder is None:
        return None
    place = Path(run.folder) / PRIOR
    return place if level is None or len(run.model.prior) == 1 else place / level


def levels_in(place: Path) -> list[Path]:
    """The folders of the priors in the folder `prior` of a run: it alone, or one for each map of codes."""
    found = () if (place / DESCRIPTION).exists() else place.glob(f"*/{DESCRIPTION}")
    calls = (read_description(each.parent)["data"]["call"] for each in found)
    return next(([place / name for name in call["levels"]] for call in calls if "levels" in call), [place])


def has_prior(folder: Path) -> bool:
    """Whether a run folder holds a fitted prior that can be used, for each of its maps of codes."""
    return all((each / WEIGHTS).exists() for each in levels_in(folder / PRIOR))


def fingerprint(path: Path) -> str:
    """The sha256 of a file: whether what was read off these weights still is. Raises RunError."""
    try:
        return file_hash(path, "sha256")
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error}); the run has not been trained as far as that") from error


def origin(run: Run, what: str) -> dict[str, str]:
    """What the data of a prior record of the run that made them: where it is, and of which weights."""
    return {} if run.folder is None else {what: "..", "weights": fingerprint(Path(run.folder) / WEIGHTS)}


def command(run: Run, recipe: str) -> str:
    """The command that fits the prior of that recipe, or a completion, to a run."""
    if recipe == MATCHED:
        return "fit_completion(run, data)" if run.folder is None else f"polyvae fit-completion {called(run)}"
    if run.folder is None:
        given = f", {recipe.removeprefix(OF_VECTORS)!r}" if recipe.startswith(OF_VECTORS) else ""
        return f"{'fit_prior' if given else 'train_prior'}(run, data{given})"
    if not recipe.startswith(OF_VECTORS):
        return f"polyvae train-prior {called(run)}"
    return f"polyvae fit-prior {called(run)} {recipe.removeprefix(OF_VECTORS)}"


def check_same_weights(run: Run, prior: Run, recipe: str) -> None:
    """RunError where the run has been trained since its prior was, which is one of that recipe."""
    _check_weights(run, prior.description, Path(str(prior.folder)), recipe)


def check_going_on(run: Run, place: Path) -> None:
    """The same of a prior that is to be trained further, where it lies."""
    description = read_description(place)
    _check_weights(run, description, place, str((description.get("recipe") or {}).get("name")))


def _check_weights(run: Run, description: Mapping[str, Any], place: Path, recipe: str) -> None:
    recorded = description.get("data", {}).get("call", {}).get("weights")
    if recorded != fingerprint(Path(str(run.folder)) / WEIGHTS):
        what = "latents" if recipe.startswith((OF_VECTORS, MATCHED)) else "codes"
        whose = COMPLETION if recipe == MATCHED else PRIOR
        raise RunError(
            f"{called(run)} has been trained on since its {whose} was: its {what} are others now. Remove {place} and "
            f"train it again with `{command(run, recipe)}`"
        )


def unfinished(run: Run) -> str | None:
    """What is to be said of a prior in the run's folder whose training was cut short; None of any other."""
    places = [] if run.folder is None else levels_in(Path(run.folder) / PRIOR)
    if len(places) > 1 and (missing := [each for each in places if not (each / STATE).exists()]):
        there = next(each for each in places if each not in missing)
        told = f"{there.parent} is not finished ({', '.join(each.name for each in missing)} not begun)"
        again = f"`{command(run, recorded(there)[0])} --resume` finishes it"
        return f"{told}: the own prior of {called(run)} is taken; {again}"
    return next(filter(None, (unfinished_in(run, each) for each in places)), None)


def unfinished_in(run: Run, place: Path) -> str | None:
    """The same of what lies in one folder."""
    if not (place / STATE).exists():  # a closed form is fitted at once
        return None
    recipe, settings = recorded(place)
    state, best = read_values(place / STATE), all((each / WEIGHTS).exists() for each in _beside(run, place))
    waited = best and state["epoch"] - state["best_epoch"] >= (settings.get("patience") or inf)
    late = state.get("spent", 0.0) >= 60 * (settings.get("minutes") or inf)
    if late or waited or state["epoch"] >= settings["epochs"] or state["step"] >= (settings.get("max_steps") or inf):
        return None
    done = f"{state['epoch']} of {settings['epochs']} epochs"
    taken = "its best weights so far are taken" if best else f"the own prior of {called(run)} is taken"
    return f"{place} is not finished ({done}): {taken}; `{command(run, recipe)} --resume` finishes it"


def _beside(run: Run, place: Path) -> list[Path]:
    """The folders that are of use together with this one."""
    return [place] if place.name == COMPLETION else levels_in(Path(str(run.folder)) / PRIOR)


def recorded(folder: Path) -> tuple[str, dict[str, Any]]:
    """The name of the prior's recipe in a folder, and its options and settings. Raises RunError where there is none."""
    description = read_description(folder)
    known = {field.name for field in fields(Settings)}
    settings = {key: value for key, value in description["settings"].items() if key in known}
    recipe = description.get("recipe") or {}
    return str(recipe.get("name")), {**recipe.get("options", {}), **settings}


def replaced(
    run: Run,
    posterior: Mapping[str, nn.Module],
    prior: Mapping[str, nn.Module],
    features: Mapping[str, nn.Module] | None = None,
    summed: Iterable[str] = (),
) -> Run:
    """The run with these posteriors and priors, its other parts and their modes as they are.

    `features`, `summed`: what there is of either beside the run's own.
    """
    old = run.model
    every = {**dict(old.features.items()), **(features or {})}
    model = VAE(posterior, prior, old.heads, every, {*old.summed, *summed}).train(old.training)
    return replace(run, recipe=replace(run.recipe, model=model))


def called(run: Run) -> str:
    """What a message calls a run."""
    return "the run" if run.folder is None else str(run.folder)
