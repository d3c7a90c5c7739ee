"""All scores of disentanglement of a model's codes on a split that holds the factors of its examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

import torch
from torchmetrics import Metric

from polyvae.data.sources import sprites
from polyvae.data.split import Split
from polyvae.evaluation.blocks import each_block, source_of
from polyvae.evaluation.codes import describe_codes
from polyvae.evaluation.disentanglement.correlation import GaussianTotalCorrelation, of_covariance
from polyvae.evaluation.disentanglement.fixed import BetaVAEScore, FactorVAEScore
from polyvae.evaluation.disentanglement.information import MIG, Modularity, information_of
from polyvae.evaluation.disentanglement.prediction import DCI, SAP, Explicitness
from polyvae.model.vae import VAE, Values

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
    "total_correlation": "total correlation of q(z), nats",
    "total_correlation_means": "total correlation of the means, nats",
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
    """Every score of `SCORES` of the posterior's centres, whose split holds whole numbers "factors" [N, F].

    `latent`: the one that is scored, by default all of them side by side. `categorical`: the columns of factors whose
    numbers are in no order, for SAP. "total_correlation" is that of a normal law with the covariance of q(z), noise of
    the posteriors included, None where that is not known or infinite; "total_correlation_means" that of the centres.
    "information": I(z_i; v_f) in nats, [d, F'], of the columns "varying", of which there are F'.

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
    found: dict[str, Any] = {"examples": len(split), "latents": codes.shape[1]}
    for name, metric in metrics.items():
        metric.update(codes, factors)
        value = metric.compute()
        found |= {key: float(each) for key, each in value.items()} if name == "dci" else {name: float(value)}
    found["total_correlation"] = _of_aggregate(source, split, seed, device, latent)
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


def _of_aggregate(source: Any, split: Split, seed: int, device: Any, latent: str | None) -> float | None:
    """Of one latent alone: how several hang together, their moments do not say."""
    described = describe_codes(source, split, seed, device, aggregate=1)
    name = latent or next(iter(described))
    code = described.get(name)
    if code is None or code.moments is None or (latent is None and len(described) > 1):
        return None
    return of_covariance(code.moments[1])
