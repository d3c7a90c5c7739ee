"""Draws pictures with residuals that depend on their neighbours beside independent ones: python examples/residuals.py.

Patches of the two photographs that come with scikit-learn; two models of the same network and steps; seed 0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_sample_image

import polyvae as pv

OUT = Path(__file__).parents[1] / "docs" / "images" / "residuals.png"
SIDE, PATCHES, EPOCHS, SHOWN = 16, 4000, 25, 12


def patches() -> torch.Tensor:
    """Patches [N, 3, SIDE, SIDE] in [0, 1], each grey level spread evenly."""
    chance = np.random.default_rng(0)
    found = []
    for name in ("china.jpg", "flower.jpg"):
        picture = load_sample_image(name)
        rows, columns = (chance.integers(0, size - SIDE, PATCHES // 2) for size in picture.shape[:2])
        found += [picture[i : i + SIDE, j : j + SIDE] for i, j in zip(rows, columns, strict=True)]
    x = np.stack(found).transpose(0, 3, 1, 2)
    return torch.from_numpy((x + chance.random(x.shape)) / 256).float()


def main() -> None:
    data = pv.data.wrap(patches(), validation=400)
    x = data.test.batch(torch.arange(SHOWN))["x"]
    rows = [x]
    for likelihood in ("normal-network", "structured"):
        made = pv.recipes.vae(data, latent=32, network="mlp", widths=(128,), likelihood=likelihood, seed=0)
        run = pv.fit(made, data, epochs=EPOCHS, lr=2e-3)
        report = pv.evaluate(run, data.test, samples=50)
        print(likelihood, f"{report['bound']:.1f}", f"{report['importance_bound']:.1f}", flush=True)
        law = run.model.eval().reconstruct({"x": x})["x"]
        torch.manual_seed(0)
        residual = law.sample() - law.mean
        rows += [(law.mean + residual).detach(), (0.5 + residual).detach()]
    pv.figures.save_montage(OUT, torch.stack(rows).clamp(0, 1).numpy(), scale=3)


if __name__ == "__main__":
    main()
