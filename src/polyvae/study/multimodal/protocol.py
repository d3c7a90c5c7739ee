"""What the study of several modalities trains and how it judges: read by its command too, and so without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from polyvae.checks.ranges import Amount, Count, Positive, Range, Seed, check

Share = Annotated[float, Range(0, 1, open=True, below=True)]

# Every model with the options that the study gives it where none are asked for: its paper's, on the networks of Shi,
# Siddharth, Paige and Torr, 2019, which are the recipes' own.
MODELS: Mapping[str, Mapping[str, Any]] = {
    "mvae": {},
    "mmvae": {"expert": "laplace"},
    "mopoe": {},
    "jmvae": {},
    "mvtcae": {},
    "mmvae_plus": {"expert": "laplace"},
    "dmvae": {},
    "poise": {"samples": 5, "dropped": 0.9},
}
GREY = "laplace-0.75"  # of grey levels under every model whose options name no likelihood: the papers'
BASELINES = ("cca", "kernel-cca", "nearest", "vae-ridge", "vae-mlp")


@dataclass(frozen=True)
class Compared:
    """What the study compares, on which data.

    models: recipes of several modalities with commas between them, each with options of its own behind a colon and a
        label behind " as "; one without options has those of the study.
    against: baselines, of cca, kernel-cca, nearest, vae-ridge and vae-mlp, with commas between them; none for none.
    data: a name of `polyvae datasets`, or a path.
    data_dir: where the files of the data lie, in DIR/NAME; else $POLYVAE_DATA and the user's cache.
    modalities: of data of one's own, which columns, channels or arrays are a modality each, as of `polyvae train`.
    """

    models: str = ", ".join(MODELS)
    against: str = ", ".join(BASELINES)
    data: str = "mnist-svhn"
    data_dir: Path | None = None
    modalities: str | None = None


@dataclass(frozen=True)
class Course:
    """What every run is given; the optimiser is Adam.

    seeds: runs of each model, with seeds from 0 on, of the weights, the order and the noise.
    epochs: passes over the training rows of every run.
    batch_size: rows a step.
    lr: Adam's.
    latent: dimensions of z.
    pairings: of data that pair pictures by their class, with how many random partners each stands in the training part.
    limit: so many training examples of each set, the other parts in proportion.
    precision: fp32, or bf16 of the networks alone.
    data_seed: of the cut into parts, of the pairs and of what is missing, the same for all runs.
    """

    seeds: Count = 3
    epochs: Count = 30
    batch_size: Count = 128
    lr: Positive = 1e-3
    latent: Count = 20
    pairings: Count = 1
    limit: Count | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    data_seed: Seed = 0

    def __post_init__(self) -> None:
        check(Course, vars(self))


@dataclass(frozen=True)
class Lacking:
    """Training parts of which modalities are missing at random, for a curve of coherence against its chance.

    absent_shares: each the chance with which a modality of a training row is hidden, one at least always left.
    absent_models: labels of the models that are trained on them too, with commas between them; none for none.
    absent_seeds: with how many of the seeds.
    """

    absent_shares: Sequence[Share] = (0.2, 0.4, 0.6, 0.8)
    absent_models: str = "mvae, mmvae, mopoe, mvtcae"
    absent_seeds: Count = 1

    def __post_init__(self) -> None:
        check(Lacking, vars(self))


@dataclass(frozen=True)
class Judging:
    """How every run is judged on the test part, once, after training; one that lacked modalities by coherence alone.

    draws: values that are made for each subset of modalities given, and out of the prior.
    samples: K of the bounds and of predictive densities, draws of the latents for each row; 0 for none of them.
    scored: rows that these are told on, a seeded subset.
    probed: training rows that linear classifiers of the latents learn from; 0 for none.
    columns: of the sheet of pictures of each model's first seed; 0 for no sheet.
    mapped: test rows in the map of latents of each model's first seed; 0 for no map.
    steps: of the training of each classifier of pictures.
    """

    draws: Count = 10_000
    samples: Amount = 50
    scored: Count = 500
    probed: Amount = 10_000
    columns: Amount = 10
    mapped: Amount = 500
    steps: Count = 2000

    def __post_init__(self) -> None:
        check(Judging, vars(self))


def words(text: str) -> list[str]:
    """Words with commas between them; none of none."""
    found = [word.strip() for word in text.split(",") if word.strip()]
    return [] if found == ["none"] else found
