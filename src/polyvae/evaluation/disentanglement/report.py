"""All scores of disentanglement of a model's codes on a split that holds the factors of its examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

import torch
from torchmetrics import Metric

from polyvae.data.cuts import subset
from polyvae.data.sources import sprites
from polyvae.data.split import Split
from polyvae.evaluation.blocks import Blocks, each_block, source_of
from polyvae.evaluation.codes import describe_codes
from polyvae.evaluation.disentanglement.correlation import GaussianTotalCorrelation, of_mixture
from polyvae.evaluation.disentanglement.fixed import BetaVAEScore, FactorVAEScore
from polyvae.evaluation.disentanglement.information import MIG, Modularity, information_of
from polyvae.evaluation.disentanglement.metric import OneFactor
from polyvae.evaluation.disentanglement.prediction import DCI, SAP, Explicitness
from polyvae.evaluation.information import of_covariance
from polyvae.model.vae import VAE, Values

AGGREGATE = 5000  # examples whose posteriors stand for q(z): their pairs take some ten seconds of one core
APART = 0.5  # nats between the bounds on a total correlation that is told
FACTORS = "factors"  # the name under which data hold them
SCORES: dict[str, str] = {
    "mig": "MIG",
    "factor_vae": "FactorVAE score",
    "beta_vae": "beta-VAE score",
    "disentanglement": "DCI disentanglement",
    "completeness": "DCI completeness",
    "informativeness": "DCI informativeness",
    "sap": "SAP",
    "modularity": "modularity",
    "explicitness": "explicitness",
    "total_correlation_normal": "total correlation of a normal law with the covariance of q(z), nats",
    "total_correlation": "that of q(z), where examples suffice",
    "total_correlation_means": "that of a normal law with the means' covariance",
}


def factors_of(data: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """What the factors of a data set are called, and the columns of those in no order, where they are known."""
    return (sprites.FACTORS, sprites.CATEGORICAL) if data in (sprites.SPRITES.name, sprites.DSPRITES.name) else ((), ())


def disentanglement(
    source: Any,
    split: Split,
    seed: int = 0,
    device: torch.device | str | None = None,
    latent: str | None = None,
    categorical: Sequence[int] = (),
) -> dict[str, Any]:
    """Every score of `SCORES` of the posterior's centres, whose split holds whole numbers "factors" [N, F], or [N].

    `latent`: the one that is scored, by default all of them side by side. `categorical`: the columns of factors whose
    numbers are in no order, for SAP. "total_correlation_normal" is that of a normal law with the covariance of q(z),
    noise of the posteriors included, "total_correlation_means" of one with the centres' covariance: they see linear
    ties alone, and are too large by some d (d - 1) / 4N. "total_correlation_bounds" hold that of q(z) itself in 19
    cases of 20, by the posteriors of a seeded 5,000 examples, see `correlation.of_mixture`; "total_correlation" is
    their middle where they are at most half a nat apart, which they are not where I(x; z) comes near log 5,000. None
    where one is not known; "notes" say why. "information": I(z_i; v_f) in nats, [d, F'],
    of the columns "varying", of which there are F'.

    Raises ValueError for a split without factors and where none varies, TypeError for what has no codes.
    """
    if FACTORS not in split.tensors:
        raise ValueError(
            f"disentanglement is measured against factors, integers [N, F] under the name {FACTORS!r}, as sprites and "
            f"dsprites have them; the split holds {', '.join(sorted(split.tensors))}"
        )
    source_of(source, "encode", "centres", what="disentanglement")
    metrics = _metrics(seed, categorical)

    def codes_of(model: VAE, batch: Values) -> torch.Tensor:
        centres = model.centres(batch)
        chosen = centres.values() if latent is None else [centres[latent]]
        return torch.cat([z.flatten(1) for z in chosen], 1).cpu()

    codes = torch.cat(each_block(source, split, codes_of, seed, device))
    factors = split.tensors[FACTORS][:].cpu()
    found: dict[str, Any] = {"examples": len(split), "latents": codes.shape[1], "notes": []}
    for name, metric in metrics.items():
        metric.update(codes, factors)
        try:
            value = metric.compute()
        except OneFactor as error:
            found[name] = None
            found["notes"].append(str(error))
            continue
        found |= {key: float(each) for key, each in value.items()} if name == "dci" else {name: float(value)}
    found["total_correlation_bounds"] = bounds = _of_mixture(source, split, seed, device, latent)
    found["total_correlation"] = middle = _middle(bounds)
    if bounds is not None and middle is None:
        found["notes"].append(
            f"no total correlation of q(z), since the posteriors of {min(len(split), AGGREGATE):,} examples leave it "
            f"between {max(0.0, bounds[0]):.1f} and {bounds[1]:.1f} nats; see that of a normal law"
        )
    found["total_correlation_normal"] = _of_covariance(source, split, seed, device, latent)
    columns, used = metrics["mig"].gathered()  # pyright: ignore[reportCallIssue]
    found["varying"] = list(used)
    found["information"] = information_of(columns, used.values()).tolist()
    scores = {name: found[name] if isfinite(found[name] or 0) else None for name in SCORES}
    return {**found, **scores}


def _metrics(seed: int, categorical: Sequence[int]) -> dict[str, Metric]:
    made: dict[str, Callable[[], Metric]] = {
        "mig": MIG,
        "factor_vae": lambda: FactorVAEScore(seed=seed),
        "beta_vae": lambda: BetaVAEScore(seed=seed),
        "dci": lambda: DCI(seed=seed),
        "sap": lambda: SAP(categorical, seed=seed),
        "modularity": Modularity,
        "explicitness": lambda: Explicitness(seed=seed),
        "total_correlation_means": GaussianTotalCorrelation,
    }
    return {name: make() for name, make in made.items()}


def _of_mixture(source: Any, split: Split, seed: int, device: Any, latent: str | None) -> tuple[float, float] | None:
    """Bounds, of all latents together: each has its own, and what they share between them is not seen."""
    chosen = subset(split, AGGREGATE, seed)

    def measure(model: VAE, batch: Values) -> torch.Tensor:
        latents = model.infer(batch).latents
        return torch.stack([of_mixture(latents[name]) for name in (latents if latent is None else (latent,))]).sum(0)

    try:
        each = each_block(source, chosen, measure, seed, device, blocks=Blocks(len(chosen)))[0]
    except ValueError:  # laws without marginals, and codes
        return None
    noise = 2 * each.std(0) / len(each) ** 0.5
    lower, upper = each.mean(0) + noise * noise.new_tensor([-1, 1])
    return (float(lower), float(upper)) if isfinite(lower) and isfinite(upper) else None


def _middle(bounds: tuple[float, float] | None) -> float | None:
    return None if bounds is None or bounds[1] - bounds[0] > APART else sum(bounds) / 2


def _of_covariance(source: Any, split: Split, seed: int, device: Any, latent: str | None) -> float | None:
    """Of one latent alone: how several hang together, their moments do not say."""
    described = describe_codes(source, split, seed, device, aggregate=1)
    name = latent or next(iter(described))
    code = described.get(name)
    if code is None or code.moments is None or (latent is None and len(described) > 1):
        return None
    return of_covariance(code.moments[1])
