"""What several commands take together, each option explained once and laid flat on the line, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from polyvae.checks.ranges import LARGEST, Amount, Count, NumberOrShare, Range, Seed, Weight
from polyvae.cli.reading import UsageError
from polyvae.recipes.options import Where

Part = Literal["train", "validation", "test"]
Device = Literal["auto", "cpu", "cuda", "mps"]
CodePrior = Literal["uniform", "own", "learned"]
Draws = Annotated[int, Range(2, LARGEST, whole=True)]
Numbers = Annotated[Sequence[int], Range(0, LARGEST, whole=True)]
Places = Annotated[Sequence[float], Range(0)]


@dataclass(frozen=True)
class Reading:
    """The run that a command reads, and on which of its data.

    run: the folder of a run.
    seed: of the draws.
    device: cpu, cuda or mps; auto is cuda where there is one.
    split: the part of the data; test unless none was cut, then validation.
    data_dir: where the data lie now, in DIR/NAME.
    """

    run: Path
    seed: Seed = 0
    device: Device = "auto"
    split: Part | None = None
    data_dir: Path | None = None


@dataclass(frozen=True)
class Beside:
    """What an evaluation tells beside the bounds.

    baselines: PCA and probabilistic PCA with as many latents beside it, or the most that leave noise; a code is one.
    frechet: so many samples judged by a classifier that is trained first; 0 for none.
    factors: scores of disentanglement too, of data that hold the factors of their examples, such as sprites.
    refine: gradient steps on each example's posterior, and by how much they raise the plain bound; 0 for none.
    ais: temperatures of annealed importance sampling, which estimates log p(x); 0 for none.
    ais_examples: on how many examples, a seeded subset.
    without: conditions that the model is not told, NAME,NAME, of those it has learned to do without.
    """

    baselines: bool = False
    frechet: Amount = 0
    factors: bool = False
    refine: Amount = 0
    ais: Amount = 0
    ais_examples: Count = 100
    without: str | None = None


@dataclass(frozen=True)
class Writing:
    """Where a figure goes. Raises UsageError for files of another kind.

    out: the PNG file.
    npz: a file for the arrays.
    json: print the files' paths as one JSON document.
    """

    out: Path | None = None
    npz: Path | None = None
    json: bool = False

    def __post_init__(self) -> None:
        if self.out is not None and self.out.suffix.lower() != ".png":
            raise UsageError(f"--out is a PNG file, such as figure.png; got {self.out}")
        if self.npz is not None and self.npz.suffix.lower() not in ("", ".npz"):
            raise UsageError(f"--npz is a file of arrays, such as figure.npz; got {self.npz}")


@dataclass(frozen=True)
class Codes:
    """From which prior codes and other latents are drawn, and how boldly.

    code_prior: the run's own prior, which of a vector-quantised run is uniform, or the learned one of `polyvae
        train-prior` and `fit-prior`, which is taken where there is one.
    temperature: how boldly the prior draws, 1 as it was trained; codes at 0 are the likeliest each time, and of normal
        priors, at every group of a ladder, the deviation is multiplied by it.
    top_k: draw among so many likeliest codes only.
    """

    code_prior: CodePrior | None = None
    temperature: Weight = 1.0
    top_k: Count | None = None


@dataclass(frozen=True)
class Masks:
    """Which pixels a completion sees.

    mask: which pixels are seen; where nothing is said of them, the sensors of a run whose sensors stay where they are.
    count: how many of them, or a share below 1; by default a twentieth, of a table's columns half, a quarter
        for a box, all of a half.
    counts: several such numbers, at each of which the errors are told and drawn.
    positions: of mask points, row,column,row,column... of a picture or columns of a table.
    """

    mask: Where = "uniform"
    count: NumberOrShare | None = None
    counts: Numbers | None = None
    positions: Places | None = None


@dataclass(frozen=True)
class Predicting:
    """What a completion draws its law from.

    draws: of the latents, for each example.
    from_x: draw the latents from the posterior, which sees all of x, and not from the prior.
    weigh: seen weighs what the prior draws by how well it explains what is seen; hamiltonian then moves each of those
        that are kept, under the law that what is seen gives the latents.
    candidates: how many draws are weighed for each example; ten times those that are kept, where none is given.
    moves: Hamiltonian moves of each draw; 20, where none is given.
    head: the head that predicts; the one that reads the observation where none is named.
    noise: leave the likelihood's own noise out of the spread.
    """

    draws: Draws = 100
    from_x: bool = False
    weigh: Literal["none", "seen", "hamiltonian"] = "none"
    candidates: Count | None = None
    moves: Count | None = None
    head: str | None = None
    noise: bool = True

    def __post_init__(self) -> None:
        if self.from_x and self.weigh != "none":
            raise UsageError(f"--weigh {self.weigh} weighs draws from the prior; leave out --from-x")


@dataclass(frozen=True)
class Showing:
    """What a figure of completions shows.

    pixels: show draws of the pixels too, where their expected values are shown otherwise.
    examples: how many are shown.
    show_draws: how many draws of each are shown.
    """

    pixels: bool = False
    examples: Count = 6
    show_draws: Amount = 4


@dataclass(frozen=True)
class Cells:
    """Which lines of a study's table are run, on which folds of which data.

    data: names of `polyvae datasets` or paths, with commas.
    family: gaussian, vq or both with a comma.
    config: configurations 1, 2 (both families) and 3 (vq), with commas; all where none are given.
    folds: how many of the five folds, like 3, or which, like 0,1,2.
    only: cells whose names match a shell pattern like *two-grid*, or a regular expression between slashes.
    data_dir: where the files of the data lie, in DIR/NAME; else $POLYVAE_DATA and the user's cache.
    """

    data: str = "mnist"
    family: str = "gaussian,vq"
    config: Sequence[int] | None = None
    folds: str = "5"
    only: str | None = None
    data_dir: Path | None = None


@dataclass(frozen=True)
class Chosen:
    """Which recipes a study trains, on which data.

    recipes: names with commas between them, each with options of its own behind a colon and a label behind " as ".
    data: a name of `polyvae datasets`, or a path.
    data_dir: where the files of the data lie, in DIR/NAME; else $POLYVAE_DATA and the user's cache.
    """

    recipes: str = "vae,iwae"
    data: str = "mnist"
    data_dir: Path | None = None


@dataclass(frozen=True)
class Machines:
    """Where the runs of a study are trained, and what is kept of them.

    workers: runs at once on this device, each in a process of its own.
    device: cpu, cuda or mps; auto is cuda where there is one.
    ray: address of a Ray cluster to run on, auto, or local for one that is started here.
    keep: of a run that is measured, all, its weights without the state to train on from, or none of either.
    """

    workers: Count = 1
    device: Device = "auto"
    ray: str | None = None
    keep: Literal["all", "weights", "none"] = "weights"
