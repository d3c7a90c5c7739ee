"""Training steps of a mixture of experts a second, beside multivae with the same networks."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Laplace

from benchmarks.interleave import Result, compare
from benchmarks.peer import quiet
from polyvae import fit, recipes
from polyvae.data import DataError, load, wrap
from polyvae.data.seeds import seed_generators
from polyvae.model.spec import Modality, Spec
from polyvae.model.vae import Conditional
from polyvae.recipes import Recipe

BATCH = 128
STEPS = {10: 4, 1: 24}  # a run, by the draws of each expert
BAR, ALIKE = {10: 1.5, 1: 0.95}, 2e-3
SHAPES = {"mnist": (1, 28, 28), "svhn": (3, 32, 32)}
SCALE = 0.75  # of both likelihoods
VISION = torch.library.Library("torchvision", "FRAGMENT")


def modalities(device: torch.device, rounds: int) -> Iterator[Result]:
    """MMVAE as `recipes.mmvae` builds it on MNIST-SVHN, Laplace laws throughout, 20 latents, K draws of each expert.

    multivae trains it by its own trainer's epochs, without its evaluation and saving, around copies of our modules, and
    with K = 10 also around the same layers written plainly in torch. Both sides take the doubly reparametrised
    gradient, the same weights of the modalities, AdamW 1e-3 and batches of 128; first `check_alike` holds their
    gradients against each other. What an expert's raw numbers say of its scale is ours on both sides, where multivae
    itself makes the scales of a row sum to d by a softmax; so is the prior, which it would learn. Its loss is the
    batch's sum, ours the mean. Ours validates on two pairs; both go on learning from round to round.
    """
    pairs = paired(BATCH * max(STEPS.values()))
    check_alike({name: value[:16] for name, value in pairs.items()})
    yield _beside_peer("multivae, our layers", pairs, 10, device, rounds)
    yield _beside_peer("multivae, plain layers", pairs, 10, device, rounds, plain_networks())
    yield _beside_peer("multivae, our layers", pairs, 1, device, rounds)


def paired(count: int) -> dict[str, Tensor]:
    """So many pairs of MNIST-SVHN where its files are found, else random numbers of its shapes."""
    try:
        found = load("mnist-svhn", download=False).train.tensors
        return {name: found[name][:count] for name in SHAPES}
    except DataError:
        made = torch.Generator().manual_seed(0)
        return {
            name: torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=made)
            for name, shape in SHAPES.items()
        }


def mixture(draws: int) -> Recipe:
    """MMVAE on MNIST-SVHN with so many draws of each expert."""
    parts = tuple(Modality(name, Spec(shape)) for name, shape in SHAPES.items())
    return recipes.mmvae(Spec((), modalities=parts), samples=draws, expert="laplace", seed=0)


def _beside_peer(
    other: str,
    pairs: dict[str, Tensor],
    draws: int,
    device: torch.device,
    rounds: int,
    networks: dict[str, tuple[nn.Module, nn.Module]] | None = None,
) -> Result:
    recipe, steps = mixture(draws), STEPS[draws]
    pairs = {name: value[: BATCH * steps] for name, value in pairs.items()}
    data = wrap(pairs, validation={name: value[:2] for name, value in pairs.items()}, modalities=tuple(pairs))
    return compare(
        f"training, MMVAE, K = {draws}, MNIST-SVHN",
        lambda: fit(recipe, data, epochs=1, batch_size=BATCH, device=device.type, progress=False),
        other,
        peer_epoch(peer_model(mixture(draws), draws, networks), pairs),
        bar=BAR[draws],
        items=steps,
        unit="steps/s",
        rounds=rounds,
    )


def plain_networks() -> dict[str, tuple[nn.Module, nn.Module]]:
    """Encoder and decoder of each modality in torch's own layers, as one would write them, of 20 latents."""
    digits = nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 40))
    drawn = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784), nn.Unflatten(1, (1, 28, 28)))
    down: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 128)):
        down += [nn.Conv2d(before, after, 4, 2, 1), nn.ReLU()]
    up: list[nn.Module] = [nn.Linear(20, 2048), nn.Unflatten(1, (128, 4, 4))]
    for before, after in ((128, 64), (64, 32), (32, 3)):
        up += [nn.ReLU(), nn.ConvTranspose2d(before, after, 4, 2, 1)]
    return {
        "mnist": (digits, drawn),
        "svhn": (nn.Sequential(*down, nn.Flatten(), nn.Linear(2048, 40)), nn.Sequential(*up)),
    }


def peer_model(recipe: Recipe, draws: int, networks: dict[str, tuple[nn.Module, nn.Module]] | None = None) -> Any:
    """multivae's MMVAE around the given networks, or copies of the recipe's own, with its scales and weights."""
    _stand_in_for_vision()
    from multivae.models import MMVAE, MMVAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self, net: nn.Module, family: nn.Module) -> None:
            super().__init__()
            self.net, self.family = net, family

        def forward(self, x: Tensor) -> Any:
            law = self.family(self.net(x)).base_dist
            return ModelOutput(embedding=law.loc, log_covariance=law.scale)

    class Decoder(BaseDecoder):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.net(z).sigmoid())

    class Mixture(MMVAE):
        def log_var_to_std(self, log_var: Tensor) -> Tensor:
            return log_var  # the encoder says the scale itself

    experts = recipe.model.posterior["z"].experts
    encoders, decoders = {}, {}
    for name in SHAPES:
        q, p = experts[name], recipe.model.heads[name].likelihood
        assert isinstance(q, Conditional)
        assert isinstance(p, Conditional)
        encoder, decoder = networks[name] if networks else deepcopy((q.net, p.net))
        encoders[name], decoders[name] = Encoder(encoder, q.family), Decoder(decoder)
    config = MMVAEConfig(
        n_modalities=len(SHAPES),
        latent_dim=20,
        input_dims=dict(SHAPES),
        uses_likelihood_rescaling=True,
        decoders_dist=dict.fromkeys(SHAPES, "laplace"),
        decoder_dist_params={name: {"scale": SCALE} for name in SHAPES},
        K=draws,
        learn_prior=False,
    )
    with quiet():
        return Mixture(config, encoders, decoders)


def peer_epoch(model: Any, pairs: dict[str, Tensor]) -> Callable[[], object]:
    """An epoch of multivae's trainer on float pictures with AdamW 1e-3; it has looked at its model already."""
    from multivae.data.datasets.base import MultimodalBaseDataset
    from multivae.trainers import BaseTrainer, BaseTrainerConfig

    for name in [each for each in logging.root.manager.loggerDict if each.startswith("multivae")]:
        logging.getLogger(name).setLevel(logging.ERROR)  # each of its modules sets its own
    with tempfile.TemporaryDirectory() as folder, quiet():
        config = BaseTrainerConfig(
            output_dir=folder, per_device_train_batch_size=BATCH, learning_rate=1e-3, optimizer_cls="AdamW"
        )
        dataset = MultimodalBaseDataset({name: value.float() / 255 for name, value in pairs.items()})
        trainer = BaseTrainer(model, dataset, training_config=config)

    def epoch() -> None:
        with quiet():
            trainer.train_step(1)

    return epoch


def check_alike(pairs: dict[str, Tensor], draws: int = 3) -> float:
    """The largest difference of a gradient beside its largest value, at the same weights and draws on both sides.

    RuntimeError where that is more than rounding, in log-weights of thousands of nats: then the two do not compute the
    same thing.
    """
    recipe = mixture(draws)
    values = recipe.observe({name: value.float() / 255 for name, value in pairs.items()})
    model = peer_model(recipe, draws)
    seed_generators(torch.device("cpu"), 0)
    drawn = recipe.model(values, draws * len(SHAPES))
    recipe.objective(lambda *_: drawn, values)["loss"].backward()
    experts = [recipe.model.posterior["z"].experts[name](values).base_dist for name in SHAPES]
    z = drawn.values["z"].detach().unflatten(0, (len(SHAPES), draws, -1))
    noise = iter([(each - law.loc).detach() / law.scale.detach() for each, law in zip(z, experts, strict=True)])

    class Given(Laplace):
        def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
            return self.loc + self.scale * next(noise)

    model.post_dist = Given
    from multivae.data.datasets.base import MultimodalBaseDataset

    (model(MultimodalBaseDataset({name: values[name] for name in SHAPES})).loss / len(values["mnist"])).backward()
    mine, theirs = [], []
    for name in SHAPES:
        mine += [recipe.model.posterior["z"].experts[name].net, recipe.model.heads[name].likelihood.net]
        theirs += [model.encoders[name].net, model.decoders[name].net]
    pairs_of = zip(nn.ModuleList(mine).parameters(), nn.ModuleList(theirs).parameters(), strict=True)
    apart = max(float((one.grad - other.grad).abs().max() / other.grad.abs().max()) for one, other in pairs_of)
    if not apart < ALIKE:
        raise RuntimeError(f"gradients of polyvae and multivae differ by {apart:.2g} of their largest value")
    return apart


def _stand_in_for_vision() -> None:
    """Names two operations that torchvision registers at its import, where its build does not fit torch's.

    PyPI has torchvision for CUDA alone, which beside a CPU build of torch cannot be imported without them. multivae
    imports it and here uses none of it.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [each for each in sys.modules if each.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in ("nms", "qnms"):
            VISION.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
