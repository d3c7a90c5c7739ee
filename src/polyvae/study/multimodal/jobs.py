"""The runs of the study of several modalities: models, with all or with fewer modalities in training, and baselines."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from polyvae.checks.names import one_of
from polyvae.data import Data
from polyvae.data.sources import CATALOGUE
from polyvae.data.sources.paired import Paired
from polyvae.study import trained
from polyvae.study.budget import Budget
from polyvae.study.grid import home
from polyvae.study.job import named_runner, once
from polyvae.study.multimodal.baselines import FITTED, Fitting
from polyvae.study.multimodal.protocol import BASELINES, GREY, MODELS, Compared, Course, Judging, Lacking, words
from polyvae.study.sources import whole_source
from polyvae.study.trained import Job, commit_of, device_name, loaded
from polyvae.study.variants import Variant, variants
from polyvae.training.description import git_state
from polyvae.version import __version__

RUNNER = "polyvae.study.multimodal.jobs:run"
MEASURE = "polyvae.study.multimodal.measure:measure"
MEASURE_BASELINE = "polyvae.study.multimodal.measure:measure_baseline"
PAIRINGS = 30  # of the data that judges learn from
FAILING = (ValueError, TypeError, ArithmeticError, RuntimeError)


@dataclass(frozen=True)
class ModalJob(Job):
    """A model to be trained on data of several modalities; `absent`: the chance that one is missing in a row."""

    course: Course = field(default_factory=Course)
    absent: float = 0.0
    modalities: str | None = None

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, "precision": self.course.precision}

    @property
    def call(self) -> dict[str, Any]:
        grey = ",".join(f"{name}={GREY}" for name, spec in self.data().spec.values.items() if spec.grey)
        return {**({"likelihood": grey} if grey else {}), **super().call}

    def data(self) -> Data:
        more = {"absent": self.absent} if self.absent else {}
        return self._loaded(limit=self.course.limit, pairings=self.course.pairings, **more)

    def judged_by(self) -> Data:
        """The data that judges learn from: whole, in as many pairs as it takes to see nearly every picture."""
        paired = isinstance(CATALOGUE.get(self.source), Paired)
        return self._loaded(pairings=PAIRINGS if paired else 1)

    def result(self) -> dict[str, Any]:
        """What the run's folder keeps of it."""
        return trained.run(self)

    def _loaded(self, **options: Any) -> Data:
        more = {} if self.modalities is None else {"modalities": self.modalities}
        return loaded(self.source, self.data_dir, seed=self.course.data_seed, **more, **options)


@dataclass(frozen=True)
class BaselineJob(ModalJob):
    """A baseline to be fitted and judged; its variant's recipe is its name."""

    @property
    def options(self) -> dict[str, Any]:
        return {}

    def result(self) -> dict[str, Any]:
        return once(self, _fitted, ("row", "curve", "measures"), failing=FAILING)


def run(job: ModalJob) -> dict[str, Any]:
    """Makes the result of a run, from where its folder stands. Raises RunFailed for what goes wrong with it alone."""
    return job.result()


def jobs_of(
    compared: Compared, course: Course, lacking: Lacking, judging: Judging, study: Path, device: str = "auto"
) -> list[ModalJob]:
    """Every run, seed after seed, baselines of each seed first and those that lack modalities at the end.

    A model that is to lack modalities and is not compared is passed over. Raises ValueError for what a recipe refuses
    and for no such baseline or model, DataError.
    """
    chosen = models(compared.models)
    for name in words(compared.against):
        one_of(BASELINES, name, "a baseline")
    budget = Budget(course.seeds, course.epochs, course.batch_size, course.lr, course.limit, "none", course.data_seed)
    place = None if compared.data_dir is None else compared.data_dir.absolute()
    source = whole_source(compared.data)
    same = (
        source,
        study.absolute(),
        budget,
        MEASURE,
        {"latent": course.latent},
        {"judging": asdict(judging)},
        device,
        place,
    )

    def job(variant: Variant, seed: int, absent: float = 0.0) -> ModalJob:
        return ModalJob(variant, seed, *same, home(variant), course, absent, compared.modalities)

    for each in (first := [job(variant, 0) for variant in chosen]):
        try:
            each.recipe()
        except (ValueError, TypeError) as error:
            raise ValueError(f"models: {each.variant.label}: {error}") from error
    made: list[ModalJob] = []
    for seed in range(course.seeds):
        made += [
            BaselineJob(
                Variant(name, name),
                seed,
                *same[:3],
                MEASURE_BASELINE,
                *same[4:],
                None,
                course,
                0.0,
                compared.modalities,
            )
            for name in words(compared.against)
            if seed == 0 or name.startswith("vae")  # the others have no weights that a seed would decide
        ]
        made += [replace(each, seed=seed) for each in first]
    labels = {variant.label: variant for variant in chosen}
    lacks = [
        one_of({**labels, **MODELS}, name, "a model that lacks modalities") for name in words(lacking.absent_models)
    ]
    for seed in range(min(lacking.absent_seeds, course.seeds)):
        for share in lacking.absent_shares:
            made += [
                job(replace(labels[name], label=f"{name}, {share:.0%} missing"), seed, share)
                for name in lacks
                if name in labels
            ]
    return made


def models(said: str | Sequence[str | Variant]) -> list[Variant]:
    """The models of a text, with the study's options where one is named without any."""

    def usual(each: Variant) -> Variant:
        plain = not each.options and each.recipe in MODELS
        return replace(each, options=dict(MODELS[each.recipe])) if plain else each

    return [usual(each) for each in variants(said, MODELS)]


def _fitted(job: BaselineJob) -> dict[str, Any]:
    """The result of a baseline, as `trained.recorded` writes that of a run."""
    found, begun = job.data(), time.perf_counter()
    settings = {**job.settings, "epochs": job.course.epochs, "device": job.device}
    translate = FITTED[job.variant.recipe](Fitting(found, job.seed, job.course.latent, settings))
    seconds = time.perf_counter() - begun
    more: Mapping[str, Any] = named_runner(job.measure)((translate, found, job))
    row = {
        "label": job.variant.label,
        "seed": job.seed,
        "recipe": job.variant.recipe,
        "options": "{}",
        "dataset": found.name,
        "train": len(found.train),
        "epochs": 0,
        "best_epoch": 0,
        "seconds": round(seconds, 2),
        **more["row"],
        "device": device_name(torch.device("cpu")),
        "commit": commit_of(git_state()),
        "polyvae": __version__,
        "torch": torch.__version__,
    }
    return {**more, "row": row, "curve": []}
