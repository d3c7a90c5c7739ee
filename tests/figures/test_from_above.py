"""Reconstructions from the highest latents alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import polyvae as pv
from helpers.striped import FIT, stripes
from polyvae import figures
from polyvae.training.second_stage import train_prior, with_prior


def test_rows_go_from_the_highest_map_to_the_whole_reconstruction() -> None:
    data = stripes()
    made = pv.recipes.vq_vae_2(data.spec, codes=6, dim=3, widths=(6,), scales=3, seed=0)
    run = pv.fit(made, data, **FIT)
    sizes = {"channels": 4, "layers": 2, "first_kernel_size": 3, "epochs": 1, "progress": False, "device": "cpu"}
    learned = with_prior(run, train_prior(run, data, **sizes))
    for source in (run, learned):
        found = figures.levels(source, data.validation, 5, seed=3)
        assert found.rows == ("original", "top", "top and middle", "all")
        assert found.pictures.shape == (4, 5, 1, 8, 8)
        again = figures.reconstructions(source, data.validation, 5, seed=3)
        np.testing.assert_array_equal(found.pictures[0], again.original)
        np.testing.assert_allclose(found.pictures[-1], again.reconstruction, atol=1e-6)
        assert np.abs(found.pictures[1] - found.pictures[-1]).max() > 0
        np.testing.assert_array_equal(found.pictures, figures.levels(source, data.validation, 5, seed=3).pictures)
        assert figures.drawing(found, "Levels") is not None
    # below the map that is held, the likeliest code at each position in turn
    model = learned.model.eval()
    with torch.no_grad():
        batch = {"x": torch.from_numpy(found.pictures[0])}
        values = {"top": model.centres(batch)["top"]}
        for name in ("middle", "bottom"):
            values[name] = model.prior[name].sharpened(0.0)(values).sample()  # pyright: ignore
        np.testing.assert_allclose(found.pictures[1], model.decode(values)["x"].mean.clamp(0, 1).numpy(), atol=1e-6)


def test_one_latent_is_refused() -> None:
    data = stripes()
    with pytest.raises(ValueError, match="no latents above each other"):
        figures.levels(pv.recipes.vae(data.spec, network="mlp", widths=(6,), seed=0), data.validation)
