"""Published coherence that stands beside that of the study, with the training it is of."""

from __future__ import annotations

from dataclasses import dataclass

SHI = "Shi, Siddharth, Paige, Torr: Variational Mixture-of-Experts Autoencoders, 2019"
LEE = "Lee, Pavlovic: Private-Shared Disentangled Multimodal VAE for Learning of Latent Representations, 2021"
SUTTER = "Sutter, Daunhawer, Vogt: Generalized Multimodal ELBO, 2021"
HWANG = "Hwang, Kim, Hong, Kim: Multi-View Representation Learning via Total Correlation Objective, 2021"
OPEN = "reproduced by MultiVae: README of github.com/AgatheSenellart/MultiVae"
POISE = "its authors' notebooks, an early checkpoint"
SVHN_WHOLE = (
    "Published: 20 latent dimensions, Laplace prior, posteriors and likelihoods of scale 0.75, MNIST's log-likelihood "
    "times 3,072 / 784, K = 30 with doubly reparametrised gradients, Adam with amsgrad at 0.001, batches of 128, 30 "
    "epochs, 30 pairings of all of SVHN's 73,257 training pictures; classifiers right in 99 and 84.5 % of real ones."
)


@dataclass(frozen=True)
class Published:
    """Coherence in percent of a model on a data set: by pair of given and target, and of joint draws."""

    dataset: str
    model: str
    cross: tuple[tuple[str, float], ...]
    joint: float | None
    source: str


def _mnist_svhn(model: str, one: float, other: float, joint: float, source: str) -> Published:
    return Published("mnist-svhn", model, (("mnist > svhn", one), ("svhn > mnist", other)), joint, source)


def _counts(model: str, source: str, *values: float) -> Published:
    pairs = tuple((f"{n + 1} given", value) for n, value in enumerate(values))
    return Published("polymnist", model, pairs, None, source)


PUBLISHED = (
    _mnist_svhn("mmvae", 86, 69, 42, SHI),
    _mnist_svhn("mmvae", 88, 67, 41, OPEN),
    _mnist_svhn("dmvae", 88.1, 83.7, 44.7, LEE),
    _mnist_svhn("dmvae", 89.2, 81.3, 46.0, OPEN),
    _mnist_svhn("mvae", 10, 10, 13, "near these, as others report it"),
    _mnist_svhn("poise", 12, 11, 12, POISE),
    _counts("mopoe", f"reported of the model of {SUTTER}", 66, 77, 81, 83),
    _counts("mvtcae", f"reported of the model of {HWANG}", 69, 77, 83, 86),
)
PROTOCOLS = {"mnist-svhn": SVHN_WHOLE}


def published(dataset: str) -> tuple[Published, ...]:
    """The published values of a data set."""
    return tuple(each for each in PUBLISHED if each.dataset == dataset.replace("_", "-"))
