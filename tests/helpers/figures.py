"""Small models and data to be drawn, and what a drawn file shows."""

import numpy as np
import torch
from PIL import Image
from torch import nn

from polyvae import recipes
from polyvae.data.split import Split
from polyvae.model.families.real import Point
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Conditional


def split(count=40, shape=(1, 6, 8), classes=3):
    """Random bytes with labels."""
    torch.manual_seed(0)
    return Split({"x": torch.randint(0, 256, (count, *shape), dtype=torch.uint8), "y": torch.arange(count) % classes})


def model(name="vae", shape=(1, 6, 8), **options):
    """An untrained recipe of few weights."""
    spec = Spec(shape, classes=3)
    plain = {} if name in ("sigma_vae", "ae") else {"likelihood": "bernoulli"}  # whose means need no clamping
    small = {"network": "mlp", "widths": (8,), "latent": 3, "seed": 0}
    return recipes.named(name)(spec, **{**plain, **small, **options})


def read(path):
    """The colours of a picture file, [height, width, 3]."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def identity(size=2):
    """z = x and x = z, exactly."""

    def eye():
        net = nn.Linear(size, size, bias=False)
        nn.init.eye_(net.weight)
        return net

    return VAE(Conditional(eye(), Point(), "x"), StandardNormal(size), Conditional(eye(), Point(), "z"))
