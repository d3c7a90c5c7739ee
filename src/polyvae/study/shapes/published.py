"""The published table of the assignment, and what its two losses can have been."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

from polyvae.data.sources.shapes import shapes

SOURCE = "Ul Ala: Variational Autoencoders, assignment 4 of AIML 425, Victoria University of Wellington, 2021"
EPOCHS = 20


@dataclass(frozen=True)
class Published:
    """A line of the table: the loss as it stands there, shares judged by eye, seconds on the author's machine."""

    loss: float
    test: float
    random: float
    seconds: float


PUBLISHED = {"vae": Published(12.022, 0.9375, 0.72, 243.09), "noise 5": Published(0.048484, 0.6875, 0.80, 244.00)}
COUNTED = {"test": 16, "random": 25}  # pictures that were judged by eye


@lru_cache(maxsize=4)
def spread(size: int, count: int = 10_000) -> float:
    """What the mean picture leaves of shapes of that size: the sum over pixels of their variances."""
    x = shapes(count, size)[0].reshape(count, -1) / 255
    return float(x.var(0).sum())


def read(size: int) -> list[str]:
    """Sentences on the two published losses, from what shapes of that size can leave."""
    pixels, vae, other = size * size, PUBLISHED["vae"].loss, PUBLISHED["noise 5"].loss
    whole = spread(size)
    return [
        f"The published losses, {vae} and {other}, cannot be on one scale. Of values in [0, 1] no mean squared error "
        f"exceeds 1, so {vae} is a sum over the pixels: {vae / pixels:.4f} a pixel of {size} x {size}. {other} as a "
        f"sum would be an error of {100 * sqrt(other / pixels):.1f} % of the range at a pixel, a copy that no eye "
        "tells from the picture, of the model that fewer test pictures are recognised of; as a mean over the pixels "
        f"it is {other * pixels:.1f} as a sum. Read so, the channel's loss is {other * pixels / vae:.1f} times the "
        f"VAE's, and not a {vae / other:.0f}th of it, which agrees with what was recognised.",
        f"Of our shapes the mean picture alone leaves {whole:.1f} ({whole / pixels:.4f} a pixel): the published "
        f"channel's loss would be no better than that, where its shapes vary as ours do, which is not known.",
    ]
