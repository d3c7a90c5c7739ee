"""Maps of codes and bars of their divergences."""

import numpy as np
import pytest
import torch

from helpers.figures import identity, model, split
from polyvae import figures, recipes
from polyvae.data.split import Split
from polyvae.evaluation import describe_codes
from polyvae.figures.kinds import LatentMap
from polyvae.model.spec import Spec


def test_classes_differ_by_marker_and_name_as_well_as_by_colour() -> None:
    rng, classes = np.random.default_rng(0), np.arange(500) % 10
    where = 5 * np.stack([classes % 4, classes // 4], 1)
    drawn = figures.drawing(LatentMap(rng.random((500, 2)) + where, classes, ("a", "b"), "500 of 900 examples"), "Map")
    axes = drawn.axes[0]
    assert axes.get_title() == "Map: 500 of 900 examples"
    looks = {(each.get_paths()[0].vertices.tobytes(), tuple(each.get_facecolor()[0])) for each in axes.collections}
    assert len(looks) == 10
    assert len({shape for shape, _ in looks}) == 8
    assert [text.get_text() for text in axes.texts] == [str(label) for label in range(10)]
    many = figures.drawing(LatentMap(rng.random((500, 2)), np.arange(500) % 50, ("a", "b")))
    assert many.axes[1].get_ylabel() == "label, 50 of them"
    assert [text.get_text() for text in many.axes[1].get_yticklabels()][-1] == "49"


def test_a_map_of_codes_is_shown_on_its_principal_axes() -> None:
    made = recipes.vq_vae(Spec((1, 8, 8)), codes=8, dim=3, widths=(8, 8), seed=0)
    assert figures.latent_map(made, split(shape=(1, 8, 8))).axes == ("z, first axis", "z, second axis")


def test_latent_map_shows_the_most_active_dimensions_or_the_principal_axes():
    torch.manual_seed(0)
    x = torch.randn(300, 3) * torch.tensor([1.0, 3.0, 0.1])
    data = Split({"x": x, "y": torch.arange(300) % 4})
    found = figures.latent_map(identity(3), data)
    assert found.axes == ("z[1]", "z[0]")
    np.testing.assert_allclose(found.points, x[:, [1, 0]].numpy(), rtol=1e-6)
    assert np.array_equal(found.labels, np.arange(300) % 4)
    turned = torch.linalg.qr(torch.randn(3, 3))[0]
    principal = figures.latent_map(identity(3), Split({"x": x @ turned}), method="pca").points
    spread = x.var(0).sort(descending=True).values[:2].numpy()
    np.testing.assert_allclose(np.var(principal, axis=0), spread, rtol=0.05)
    with pytest.raises(ValueError, match="method"):
        figures.latent_map(identity(3), data, method="tsne")


def test_bars_are_the_divergences_and_a_model_without_any_says_so():
    np.testing.assert_allclose(
        figures.kl_bars(model(), split()).kl["z"], describe_codes(model(), split())["z"].kl.numpy(), rtol=1e-6
    )
    with pytest.raises(ValueError, match="no latent"):
        figures.kl_bars(identity(), Split({"x": torch.randn(5, 2)}))


def test_the_groups_of_a_ladder_stand_from_the_top_with_their_whole_divergence() -> None:
    made = recipes.ladder(Spec((1, 8, 8)), per_scale=(1, 2), latent=2, widths=(4,), seed=0)
    found = figures.group_kl(made, split(shape=(1, 8, 8)))
    assert list(found.kl) == ["z1", "z2", "z3"]
    assert found.dimensions == {"z1": 2 * 2 * 2, "z2": 2 * 4 * 4, "z3": 2 * 4 * 4}
    bars = figures.kl_bars(made, split(shape=(1, 8, 8))).kl
    np.testing.assert_allclose(found.kl["z1"], bars["z1"].sum(), rtol=1e-5)  # what is below is known at draws alone
    np.testing.assert_allclose([found.kl[name] for name in bars], [kl.sum() for kl in bars.values()], rtol=0.2)
    assert "nats in all" in figures.drawing(found, "KL of each group").axes[0].get_title()
