"""What the study of completion trains and how it judges: read by its command too, and so without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from polyvae.checks.ranges import LARGEST, Amount, Count, Positive, Range, Seed, check
from polyvae.recipes.options import Within
from polyvae.training.budget import Clock

Draws = Annotated[int, Range(2, LARGEST, whole=True)]
Points = Annotated[Sequence[int], Range(0, LARGEST, whole=True)]
HIDDEN = ("left", "right", "top", "bottom", "box")

# What is compared where nothing is asked for, and a network's U-Net. The option z=none takes the latents away.
MODELS = (
    "arbitrary_conditioning:likelihood=bernoulli,decoder=analysers as arbitrary_conditioning; "
    "arbitrary_conditioning:likelihood=bernoulli,decoder=analysers,z=none as network without z"
)
COLOURS = (
    "arbitrary_conditioning:likelihood=normal-network,decoder=normal-law as arbitrary_conditioning; "
    "arbitrary_conditioning:likelihood=normal-network,decoder=normal-law,z=none as network without z"
)
LARGE = COLOURS.replace("normal-law", "analysers")  # more pixels than a covariance in space is of
UNET = "u-net"
# These have no weights that a seed would decide.
FITTED = ("normal-law", "separable-normal", "normal-mixture", "kriging", "gappy-pca", "linear", "nearest")
BASELINES = (*FITTED, UNET)
# What studies meant that were begun before these were settings.
BEFORE: dict[str, Any] = {"clock": "wall", "warmup": 0, "average": None}


@dataclass(frozen=True)
class Completed:
    """Which models and baselines complete which pictures.

    models: recipes that read a few pixels, with commas between them, each with options of its own behind a colon and a
        label behind " as "; the option z=none takes its latents away. By default arbitrary_conditioning and the same
        network without z.
    against: baselines, of normal-law, separable-normal, normal-mixture, kriging, gappy-pca, linear, nearest and u-net,
        with commas between them; none for none. By default all, separable-normal of colours alone.
    data: a name of `polyvae datasets`, or a path.
    data_dir: where the files of the data lie, in DIR/NAME; else $POLYVAE_DATA and the user's cache.
    """

    models: str | None = None
    against: str | None = None
    data: str = "mnist"
    data_dir: Path | None = None


@dataclass(frozen=True)
class Effort:
    """What every model is given; the optimiser is Adam.

    minutes: of training each.
    clock: whose minutes: of the processors, all threads together, or of the wall, which is for a GPU.
    epochs: passes over the training part in the place of minutes.
    seeds: runs of each model, with seeds from 0 on, of the weights, the order and the noise.
    batch_size: pictures a step.
    lr: Adam's.
    schedule: the learning rate: constant, or down to zero at the end by a cosine or a line.
    warmup: steps over which the learning rate rises from zero.
    average: decay of a moving average of the weights, which is then what is judged; none by default.
    limit: so many training pictures, the other parts in proportion.
    data_seed: of the cut into parts, the same for all runs.
    """

    minutes: Positive = 5.0
    clock: Clock = "processor"
    epochs: Count | None = None
    seeds: Count = 1
    batch_size: Count = 128
    lr: Positive = 1e-3
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    warmup: Amount = 0
    average: Within | None = None
    limit: Count = 10_000
    data_seed: Seed = 0

    def __post_init__(self) -> None:
        check(Effort, vars(self))


@dataclass(frozen=True)
class Seen:
    """What is seen of the pictures, the same for all methods, and how completions are judged.

    points: numbers of pixels that are seen, at random places.
    masks: also what is hidden as a whole, with commas between them: left, right, top or bottom half, or box, a quarter
        of the picture at a random place; none for none.
    test: pictures of the test part that are completed, a seeded subset.
    held: pictures of the validation part by which a method's reading and settings are chosen.
    draws: of what each method says of a picture.
    alike: whether every method may also be read by held-out values at which it predicted about the same mean, a law
        that is calibrated pixel by pixel.
    shown: pictures in the sheets of completions; 0 for no sheets.
    steps: of the training of the classifier that reads completed pictures, of data with classes; 0 for none.
    """

    points: Points = (5, 20, 40, 80, 200)
    masks: str = "none"
    test: Count = 500
    held: Count = 200
    draws: Draws = 100
    alike: bool = True
    shown: Amount = 4
    steps: Amount = 2000

    def __post_init__(self) -> None:
        check(Seen, vars(self))
        for name in words(self.masks):
            if name not in HIDDEN:
                raise ValueError(f"masks are of {', '.join(HIDDEN)}, with commas between them, or none; got {name!r}")
        if not self.names:
            raise ValueError("points are numbers of seen pixels with commas between them, such as 5,20; got none")

    @property
    def names(self) -> tuple[str, ...]:
        """What each mask is called: how many pixels are seen, or what is hidden."""
        return (*(str(count) for count in sorted(set(self.points))), *dict.fromkeys(words(self.masks)))


def words(text: str) -> list[str]:
    """Words with commas between them; none of none."""
    found = [word.strip() for word in text.split(",") if word.strip()]
    return [] if found == ["none"] else found
