"""A prior fitted to a trained run, all else frozen: trained by `fit` in a folder of its own, and put into the run."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from polyvae.checks.names import find
from polyvae.checks.ranges import check
from polyvae.model.parts import given, shapes
from polyvae.model.priors.row import Row
from polyvae.model.vae import VAE, Conditional, Feature
from polyvae.model.weights import check_weights
from polyvae.recipes import Recipe, named
from polyvae.training.fit import fit
from polyvae.training.run import Run
from polyvae.training.run_folder import begun
from polyvae.training.second_stage.codes import (
    RECIPE,
    chosen_levels,
    has_codes,
    level_data,
    options_above,
    quantised,
    with_pixel_cnns,
)
from polyvae.training.second_stage.kept import (
    OF_VECTORS,
    PRIOR,
    called,
    check_same_weights,
    command,
    has_prior,
    levels_in,
    place_of,
    recorded,
    replaced,
)
from polyvae.training.second_stage.kinds import KINDS
from polyvae.training.second_stage.latents import Vector, examples, latent_data, vectors_of
from polyvae.training.settings import OF_PRIORS
from polyvae.training.store import METRICS, WEIGHTS, RunError, read_metrics

MADE = {"spec", "vector", "above"}  # what a prior's builder is told by the run
ABOVE = "u"  # the latent of a second autoencoder
ROW = "latents"  # the prior of several


def train_prior(
    run: Run,
    data: Any,
    *,
    level: str | None = None,
    resume: bool = False,
    progress: bool | None = None,
    **settings: Any,
) -> Run | dict[str, Run]:
    """Trains a PixelCNN over the codes of a vector-quantised run and returns the prior's own run.

    Of a run with several maps of codes, one for each, the highest first, each conditional on the maps above it; these
    are independent of each other and returned by the names of the maps. `level`: train that of one map alone.

    `data`: what the run was trained on, or anything that `fit` takes; the codes of its training and validation part are
    computed once. `settings`: options of the recipe `pixel_cnn` (channels, layers, dropout, condition ...) and
    settings of `fit` (epochs, lr, seed ...). The result is in the folder `prior` within the run's, of several maps in
    folders of their names within that, or in memory alone where the run has none. `resume`: go on with what is there,
    exactly as if it had not stopped; what it recorded need not be said again, and counts for maps not begun.

    Raises RunError for a run without codes or a folder that holds another prior, ValueError for a bad option, such as a
    condition without labels, TypeError for an unknown one.
    """
    levels, trained = chosen_levels(run, level), dict[str, Run]()
    codes = level_data(run, data)
    for name in levels:
        options, rest = _given(run, RECIPE, named(RECIPE), settings, resume, name)
        options |= options_above(run, name)
        recipe = named(RECIPE)(codes[name].spec, seed=rest.get("seed", 0), **options)
        trained[name] = fit(recipe, codes[name], place_of(run, name), resume=resume, progress=progress, **rest)
    return trained if level is None and len(levels) > 1 else trained[levels[0]]


def fit_prior(
    run: Run, data: Any, prior: str, *, resume: bool = False, progress: bool | None = None, **settings: Any
) -> Run:
    """Fits a prior to the latent of a trained run, all else frozen, and returns the prior's own run.

    `prior`: "mixture", "vamp", "flow", "flow-matching", "two-stage" or "labelled", see
    `polyvae.training.second_stage.kinds`.
    `data`: what the run was trained on, or anything that `fit` takes; what is fitted are draws of its posteriors, made
    anew in every epoch. `settings`: options of that prior (components, steps ...) and settings of `fit` (epochs, lr,
    seed ...), of which "flow-matching" has some by default that `fit` has not, see `training.settings.OF_PRIORS`. The
    result is in the folder `prior` within the run's, or in memory alone where the run has none; `with_prior` puts it
    into the run. `resume`: go on with what is there, exactly as if it had not stopped; what it recorded need not be
    said again.

    A run of several modalities may have several such latents: "mixture", "flow" and "flow-matching" are then of all of
    them in a row, so that what they have to do with each other is told too.

    Raises RunError for a run without one latent that is a vector with a prior that reads nothing, or a folder that
    holds another prior, ValueError for a bad option, TypeError for an unknown one.
    """
    build = find(KINDS, prior, "prior")
    options, rest = _given(run, OF_VECTORS + prior, build, settings, resume)
    latents, seed = latent_data(run, data), rest.get("seed", 0)
    if "settings" not in rest:
        rest = {**OF_PRIORS.get(prior, {}), **rest}
    names = vectors_of(run)
    recipe = _recipe(Vector(run, names, examples(run, data, seed)), prior, options, seed)
    if isinstance(recipe.model.posterior["z"], Conditional):
        _names_above(run, names[0], recipe.model)  # refused before it takes its time
    return fit(recipe, latents, place_of(run), resume=resume, progress=progress, **rest)


def with_prior(run: Run, prior: Run | Mapping[str, Run] | None = None) -> Run:
    """The run whose model has the fitted prior: its KL and its bound are with it, and `generate` draws from it.

    `prior`: what `train_prior` or `fit_prior` returned; by default what lies in the run's folder. All weights but the
    prior's are shared with the run given. Raises RunError where there is no prior yet, or one of another model.
    """
    prior = _stored(run) if prior is None else prior
    if isinstance(prior, Mapping):
        return with_pixel_cnns(run, prior, again(run))
    kind = str((prior.recipe.call or {}).get("name", ""))
    if not kind.startswith(OF_VECTORS):
        return with_pixel_cnns(run, dict.fromkeys(quantised(run), prior), again(run))
    names = vectors_of(run)
    vector, of = Vector(run, names), ", ".join(map(repr, names))
    if (wanted := vector.dimensions) != (found := prior.model.heads["x"](_zeros(prior)).event_shape[0]):
        raise RunError(f"{called(prior)} is a prior of {found} dimensions, {of} of {called(run)} has {wanted}")
    if isinstance(prior.model.posterior["z"], Conditional):
        return _above(run, names[0], prior)
    fitted = prior.model.prior["z"]
    posterior, own = dict(run.model.posterior.items()), dict(run.model.prior.items())
    if names[0] in own and len(names) == 1:
        return replaced(run, posterior, {**own, names[0]: fitted})
    kept = {key: part for key, part in own.items() if not set(shapes(part) or (key,)) & set(names)}
    return replaced(run, posterior, {**kept, ROW: Row(fitted, vector.shapes)})


def again(run: Run) -> str:
    """The command that fits a prior to a run."""
    return command(run, RECIPE if has_codes(run) else f"{OF_VECTORS}mixture")


def _given(
    run: Run, recipe: str, build: Any, settings: Mapping[str, Any], resume: bool, level: str | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of a prior and the settings of its training, with those that are recorded where it goes on.

    A `level` that has not begun goes on as the first that has.
    """
    given, folder = dict(settings), place_of(run, level)
    if folder is not None and not begun(folder):
        folder = next(filter(begun, levels_in(Path(str(run.folder)) / PRIOR)), folder)
    if resume and folder is not None:
        name, held = recorded(folder)
        if name != recipe:
            raise RunError(f"{folder} holds no such learned prior but a run of {name}")
        given = {**{key: value for key, value in held.items() if key not in MADE}, **given}
    taken = set(inspect.signature(build).parameters) - MADE
    options = {key: value for key, value in given.items() if key in taken}
    return options, {key: value for key, value in given.items() if key not in taken}


def _recipe(vector: Vector, kind: str, options: Mapping[str, Any], seed: int) -> Recipe:
    """The recipe of a prior, with weights from that seed, whose call says what it is, defaults and all."""
    check(KINDS[kind], dict(options))
    bound = inspect.signature(KINDS[kind]).bind(vector, **options)
    bound.apply_defaults()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = KINDS[kind](*bound.args)
    said = {name: value for name, value in bound.arguments.items() if name != "vector"}
    return replace(made, call=json.loads(json.dumps({"name": OF_VECTORS + kind, "options": said})))


def _stored(run: Run) -> Run | dict[str, Run]:
    """The prior in the run's folder, or those of its maps by name.

    Raises RunError where there is none, or the run has been trained since.
    """
    if run.folder is None or not has_prior(Path(run.folder)):
        raise RunError(f"{called(run)} has no learned prior yet; train one with `{again(run)}`")
    place = Path(run.folder) / PRIOR
    places = levels_in(place)
    return _read(run, place) if places == [place] else {each.name: _read(run, each) for each in places}


def _read(run: Run, place: Path) -> Run:
    """The prior that lies there."""
    name, options = recorded(place)
    recipe = None
    if name.startswith(OF_VECTORS):
        kind = name.removeprefix(OF_VECTORS)
        taken = inspect.signature(find(KINDS, kind, "prior")).parameters
        found = dict(*read_metrics(place / METRICS)[:1])  # with the numbers that a closed form chose
        chosen = {key: value for key, value in {**options, **found}.items() if key in taken}
        recipe = _recipe(Vector(run, vectors_of(run)), kind, chosen, 0)
    prior = Run.load(place, recipe)
    check_weights(prior.model, str(place / WEIGHTS))
    check_same_weights(run, prior, name)
    return prior


def _names_above(run: Run, name: str, second: VAE) -> dict[str, str]:
    """What values of a second model are called above a vector. RunError where the run has others of these names."""
    names = {"x": name, "z": ABOVE}
    taken = {*run.model.posterior, *run.model.prior, *run.model.inputs, *run.model.features}
    if clash := taken & {*(names.get(key, key) for key in second.posterior), *second.features}:
        raise RunError(f"{called(run)} has values named {sorted(clash)} already, as its prior has")
    return names


def _above(run: Run, name: str, prior: Run) -> Run:
    """The run with a second model's latents above its vector z: their posteriors read z, and p(z | u) stands below.

    Its own vector is called u, and other latents and features of it as they are.
    """
    second, names = prior.model, _names_above(run, name, prior.model)
    posterior: dict[str, nn.Module] = {}
    for key, part in run.model.posterior.items():
        posterior[key] = part
        if key == name:
            posterior |= {names.get(k, k): _reading(part, names) for k, part in second.posterior.items()}
    priors: dict[str, nn.Module] = {}
    for key, part in run.model.prior.items():
        if key == name:
            priors |= {names.get(k, k): _reading(part, names) for k, part in second.prior.items()}
            part = _reading(second.heads["x"].likelihood, names)  # pyright: ignore[reportArgumentType]
        priors[key] = part
    features = {key: _reading(part, names) for key, part in second.features.items()}
    return replaced(run, posterior, priors, features, second.summed)


def _reading(part: Any, names: Mapping[str, str]) -> Any:
    """The same part, weights shared, that reads values by other names; one that reads nothing as it is."""
    if not given(part):
        return part
    read = tuple(names.get(name, name) for name in given(part))
    made = Feature(part.net, read) if isinstance(part, Feature) else Conditional(part.net, part.family, read)
    return made.train(part.training)


def _zeros(prior: Run) -> dict[str, torch.Tensor]:
    """A row of zeros for the likelihood of a prior's own model."""
    return {name: torch.zeros_like(value) for name, value in prior.model.sample_latents(count=1).items()}
