"""The data sets known by name: `CATALOGUE`, a file for each; how their files are listed, downloaded, unpacked."""

from polyvae.data.sources.binarized_mnist import BINARIZED_MNIST
from polyvae.data.sources.celeba import CELEBA
from polyvae.data.sources.cifar10 import CIFAR10
from polyvae.data.sources.cylinder_flow import CYLINDER_FLOW
from polyvae.data.sources.digits import DIGITS
from polyvae.data.sources.frey_faces import FREY_FACES
from polyvae.data.sources.inverse import INVERSE
from polyvae.data.sources.mnist import FASHION_MNIST, KMNIST, MNIST
from polyvae.data.sources.omniglot import OMNIGLOT
from polyvae.data.sources.paired import PAIRED
from polyvae.data.sources.polymnist import POLYMNIST
from polyvae.data.sources.shapes import SHAPES
from polyvae.data.sources.source import About, Options, Source
from polyvae.data.sources.sprites import DSPRITES, SPRITES
from polyvae.data.sources.svhn import SVHN
from polyvae.data.sources.turbulence import TURBULENCE
from polyvae.data.sources.vortices import VORTICES

CATALOGUE: dict[str, Source] = {
    source.name: source
    for source in (
        MNIST,
        FASHION_MNIST,
        KMNIST,
        BINARIZED_MNIST,
        CIFAR10,
        SVHN,
        CELEBA,
        OMNIGLOT,
        DSPRITES,
        SPRITES,
        FREY_FACES,
        DIGITS,
        SHAPES,
        CYLINDER_FLOW,
        VORTICES,
        TURBULENCE,
        *INVERSE,
        *PAIRED,
        POLYMNIST,
    )
}

__all__ = [
    "CATALOGUE",
    "About",
    "Options",
    "Source",
]
