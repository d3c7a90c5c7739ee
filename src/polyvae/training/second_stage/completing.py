"""A law q(z | m) fitted to a trained run, so that it completes from what is seen, and put in the place of its prior."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from polyvae.completion.masked import masked
from polyvae.data.exchange.codes import retold
from polyvae.data.loading import as_data
from polyvae.data.memory_maps import Rows
from polyvae.data.split import Data, Split, Transform
from polyvae.evaluation.blocks import each_block
from polyvae.model.draw import total
from polyvae.model.parts import evaluation_mode, home
from polyvae.model.priors.completing import Completing
from polyvae.model.vae import VAE, Values
from polyvae.model.weights import check_weights
from polyvae.observe.masks import SparsePixels
from polyvae.observe.transforms import Chain
from polyvae.training.fit import fit
from polyvae.training.matching import Matching
from polyvae.training.run import Run
from polyvae.training.run_folder import begun
from polyvae.training.second_stage.kept import (
    COMPLETION,
    MATCHED,
    called,
    check_same_weights,
    command,
    origin,
    recorded,
    replaced,
)
from polyvae.training.second_stage.latents import ROWS, normals_of
from polyvae.training.second_stage.matched import DRAWN, Latents, check_law, check_matched, masks_of, matched
from polyvae.training.store import WEIGHTS, RunError

NORMALS = "normals of z"  # means and scales of posteriors beside their examples


def fit_completion(run: Run, data: Any, *, resume: bool = False, progress: bool | None = None, **settings: Any) -> Run:
    """Fits q(z | m) to the posterior of a trained run, which stays as it is, and returns that law's own run.

        max E log q(z | m),  z ~ q(z | x), m = (x * mask, mask)

    with masks drawn anew at every look: q(z | m) is then the mean of the posteriors of all x that agree with m, and a
    completion draws z from it and decodes. Of several latents q(z_1 | m) q(z_2 | z_1, m) ..., from the top.

    `data`: what the run was trained on, or anything that `fit` takes. `settings`: fields of
    `polyvae.training.matching.Matching` (law, network, mask ...) and settings of `fit` (epochs, lr, seed ...). The
    result is in the folder `completion` within the run's, where `pv.complete`, `run.complete` and `polyvae complete`
    find it; or in memory alone where the run has none, and `with_completion` puts it into the run. `resume`: go on with
    what is there, exactly as if it had not stopped; what it recorded need not be said again.

    Raises RunError for a run whose prior reads m already, that knows of gaps, of several modalities, or with a folder
    that holds another completion; ValueError for a bad option, TypeError for an unknown one.

    Strauss, Oliva: Posterior Matching for Arbitrary Conditioning, 2022.
    """
    made = check_matched(run)
    asked, rest = _asked(run, settings, resume)
    found = retold(as_data(data), run.spec)
    latents = Latents(run, _sizes(run, found.train, made.name), made)
    if (law := settings.get("law")) is not None:  # earlier versions recorded one of codes too
        check_law(latents, law)
    recipe = matched(latents, asked, rest.get("seed", 0))
    return fit(recipe, _data(latents, found, asked), place_of(run), resume=resume, progress=progress, **rest)


def with_completion(run: Run, completion: Run | None = None) -> Run:
    """The run that completes: in the place of its prior q(z | m), so that it draws nothing without an observation.

    `completion`: what `fit_completion` returned; by default what lies in the run's folder. All other weights are shared
    with the run given. Raises RunError where there is none yet, or one of another model.
    """
    completion = _stored(run) if completion is None else completion
    if list(completion.model.prior) != list(run.model.prior):
        mine, theirs = (", ".join(each.model.prior) for each in (run, completion))
        raise RunError(f"{called(completion)} draws {theirs}, and the latents of {called(run)} are {mine}")
    own = run.model.prior
    laws = {name: Completing(law, own[name]).eval() for name, law in completion.model.prior.items()}
    return replaced(run, dict(run.model.posterior.items()), laws)


def has_completion(folder: Path) -> bool:
    """Whether a run folder holds a fitted q(z | m) that can be used."""
    return (folder / COMPLETION / WEIGHTS).exists()


def own_nats(run: Run, data: Data, seed: int = 0) -> float | None:
    """E log p(z) of the run's own prior at draws of the posterior, nats an example of the validation part; None where
    latents are summed over."""
    if run.model.summed or not len(data.validation):
        return None

    def measure(model: VAE, batch: Values) -> Tensor:
        return total(latent.log_p for latent in model.infer(batch).latents.values()).flatten()

    return float(torch.cat(each_block(run, data.validation, measure, seed)).mean())


def place_of(run: Run) -> Path | None:
    """The folder of a run's completion; None of a run that has none."""
    return None if run.folder is None else Path(run.folder) / COMPLETION


@dataclass(frozen=True)
class Looked:
    """A batch of examples becomes a draw of their latents and an observation: by the data's own transform, the run's,
    its model. Both follow from torch's generators, which training and validation seed for each batch."""

    model: VAE
    observe: Callable[[Values], Values]
    latents: tuple[str, ...]
    reads: tuple[str, ...]
    before: Transform | None = None

    @torch.no_grad()
    def __call__(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        normals = values.get(NORMALS)
        values = {name: value for name, value in values.items() if name != NORMALS}
        batch = self.observe(values if self.before is None else self.before(values))
        kept = {name: batch[name] for name in self.reads}
        if normals is not None:
            loc, scale = normals.unbind(1)
            return {**kept, DRAWN + self.latents[0]: loc + scale * torch.randn_like(loc)}
        here, read = next(iter(values.values())).device, self.read(batch)
        rows = len(next(iter(read.values())))
        parts = [{name: value[first : first + ROWS] for name, value in read.items()} for first in range(0, rows, ROWS)]
        drawn = [self.model.infer(part).values for part in parts]
        return {**kept, **{DRAWN + name: torch.cat([each[name] for each in drawn]).to(here) for name in self.latents}}

    def read(self, batch: Values) -> dict[str, Tensor]:
        """What the model reads, where it is."""
        return {name: value.to(home(self.model)) for name, value in batch.items() if name in self.model.inputs}


def _data(latents: Latents, data: Data, asked: Matching) -> Data:
    """The examples as draws of the run's latents beside observations of them, made anew at every look.

    Posteriors that are independent normals are computed once, where examples are read without drawing.
    """
    run, made = latents.run, latents.made
    model = deepcopy(run.model).requires_grad_(False).eval()
    model.summed = frozenset()  # what z depends on is drawn as z is
    observe = masked(run.recipe, masks_of(latents.spec, asked)).observe
    looked = Looked(model, observe, latents.names, (made.name, *latents.reads))
    parts = {}
    for part, split in data.parts.items():
        kept = None if part == "test" else _normals(looked, split, made.observe, made.name)
        held = split.tensors if kept is None else {**split.tensors, NORMALS: kept}
        parts[part] = Split(held, replace(looked, before=split.transform))
    call = origin(run, "completion_of")
    return Data(f"latents of {data.name}", parts["train"], parts["validation"], parts["test"], data.spec, call)


def _normals(looked: Looked, split: Split, observe: Callable[[Values], Values], name: str) -> Tensor | None:
    """Means and scales of the one posterior, which does not read the observation of that name; None where they do not
    say all, or are too many to keep."""
    one = len(looked.latents) == 1
    if not one or split.transform is not None or isinstance(split.tensors, Rows) or not len(split):
        return None
    if name in looked.model.plan.reads(looked.model.posterior[looked.latents[0]]):
        return None
    return normals_of(split, looked.model, looked.latents[0], lambda values: looked.read(observe(values)))


def _sizes(run: Run, train: Split, name: str) -> dict[str, tuple[int, ...]]:
    """The shapes of an example's latents and of the conditions beside the observation of that name."""
    observe = masked(run.recipe, SparsePixels()).observe
    with torch.random.fork_rng(devices=[]), evaluation_mode(run.model):
        batch = observe(train.batch(torch.arange(1, device=train.device)))
        looked = Looked(run.model, Chain(), (), ())
        values = {**batch, **run.model.infer(looked.read(batch)).values}
    names = (*run.model.prior, *(each for each in run.model.conditions if each != name))
    return {each: tuple(values[each].shape[1:]) for each in names}


def _asked(run: Run, settings: Mapping[str, Any], resume: bool) -> tuple[Matching, dict[str, Any]]:
    """What is to be fitted, and the settings of its training, with those that are recorded where it goes on."""
    given, folder, known = dict(settings), place_of(run), {each.name for each in fields(Matching)}
    if resume and folder is not None and begun(folder):
        name, held = recorded(folder)
        if name != MATCHED:
            raise RunError(f"{folder} holds no completion but a run of {name}")
        given = {**{key: value for key, value in held.items() if key != "sizes"}, **given}
    asked = {key: value for key, value in given.items() if key in known}
    return Matching(**asked), {key: value for key, value in given.items() if key not in known}


def _stored(run: Run) -> Run:
    """The completion in the run's folder. RunError where there is none, or the run has been trained since."""
    place = place_of(run)
    if place is None or not has_completion(Path(str(run.folder))):
        raise RunError(f"{called(run)} has no completion yet; fit one with `{command(run, MATCHED)}`")
    name, options = recorded(place)
    if name != MATCHED:
        raise RunError(f"{place} holds no completion but a run of {name}")
    asked = Matching(**{each.name: options[each.name] for each in fields(Matching) if each.name in options})
    sizes = {name: tuple(size) for name, size in options["sizes"].items()}
    completion = Run.load(place, matched(Latents(run, sizes, check_matched(run)), asked, 0))
    check_weights(completion.model, str(place / WEIGHTS))
    check_same_weights(run, completion, MATCHED)
    return completion
