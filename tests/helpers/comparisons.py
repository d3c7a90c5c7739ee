"""A recipe that fails, as text, and rows of a comparison made up from labels, for the tests around them."""

from __future__ import annotations

import json
import zlib
from typing import Any

from polyvae.study.compare.study import LAYOUT

# A module of a user's own: a process that reads it has the recipe in its catalogue for good.
FAILING = '''
import torch
import polyvae as pv


class Failing(torch.nn.Module):
    def forward(self, model, batch, step):
        bound = model(batch).elbo.mean()
        return {"loss": bound * float("nan"), "bound": bound}


@pv.recipes.recipe
def failing_vae(spec: pv.Spec, **options) -> pv.Recipe:
    """A variational autoencoder whose loss is not finite."""
    return pv.recipes.vae(spec, objective=Failing(), **options)
'''


def row(label: str, seed: int = 0, **more: Any) -> dict[str, Any]:
    """A row that follows from label and seed alone."""
    noise = zlib.crc32(f"{label}{seed}".encode()) / 2**32
    recipe = label.partition(":")[0]
    found = {
        "label": label, "seed": seed, "recipe": recipe, "dataset": "mnist", "train": 50_000, "epochs": 2,
        "options": json.dumps({"latent": 50, "network": "mlp-tanh", "widths": [200, 200]}),
        "best_epoch": 2, "parameters": 425_284, "seconds": 60.0, "test": 10_000,
        "bound": -90.0 - noise, "nll": 87.0 + noise, "nll_error": 0.05, "samples": 1000, "scored": 1000,
        "discrete": "yes", "given": "", "mse": 0.01, "frechet": 100.0 + noise, "frechet_fitted": 50.0 + noise,
        "frechet_real": 2.0, "pictures": 10_000, "active": 20, "latent": 50, "step_seconds": 0.005, "memory_mb": 30.0,
        "workers": 1, "note": "", "device": "cpu, 1 threads", "commit": "abc", "polyvae": "0", "torch": "0",
    }  # fmt: skip
    return {name: {**found, **more}.get(name) for name in LAYOUT.columns}
