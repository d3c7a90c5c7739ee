"""Variants for counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from torch import nn

from polyvae.checks.ranges import Count, Widths
from polyvae.model.spec import Column, Spec
from polyvae.model.vae import Family
from polyvae.recipes.recording import Recipe, recipe
from polyvae.recipes.variants import vae


@recipe
def count_vae(
    spec: Spec,
    likelihood: str | Family = "zero-inflated-negative-binomial",
    library: Literal["none", "observed", "latent"] = "observed",
    latent: Count = 10,
    network: str | Callable[..., nn.Module] = "mlp",
    widths: Widths | None = (128,),
    **options: Any,
) -> Recipe:
    """Counts whose means are shares of a library size n: mu = n softmax(f(z)), log(1 + x) at the encoder's input.

    `likelihood`: "poisson", "negative-binomial" or "zero-inflated-negative-binomial", the latter two with one
    dispersion for each column; with "-network" behind the name, one for each value. `library`: n, the "observed" total
    of x, which the bound is then given, or a "latent" one, log-normal with the moments of the totals; "none" leaves
    the means to the network. `latent`: dimensions of z. `network`: "mlp", "conv", "residual" or a builder of modules;
    `widths`: its layers' widths or channels, in the encoder's order. Batches are a `condition`.

    Lopez, Regier, Cole, Jordan, Yosef: Deep generative modeling for single-cell transcriptomics, 2018.
    """
    if not spec.columns:
        spec = replace(spec, columns=(Column("counts"),) * spec.x[0], levels=None)
    elif others := [kind for kind in spec.kinds if kind != "counts"]:
        raise ValueError(
            f"count_vae is for columns of counts only, and these hold {', '.join(others)}: take vae, which gives each "
            "kind its own likelihood, or say that they are counts (kind='counts')"
        )
    return vae(spec, likelihood=likelihood, library=library, latent=latent, network=network, widths=widths, **options)
