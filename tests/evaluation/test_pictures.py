"""Errors of reconstructions and the Fréchet distance, against closed forms and other implementations."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torchmetrics.functional.image import peak_signal_noise_ratio

from polyvae import recipes
from polyvae.data.split import Data, Split
from polyvae.evaluation import (
    accuracy,
    errors,
    evaluate,
    frechet_distance,
    recognisable,
    reconstruction_errors,
    sampled_pictures,
    train_classifier,
)
from polyvae.evaluation.classifier import scrambled
from polyvae.evaluation.frechet import inception_distance
from polyvae.evaluation.pictures import in_unit, limits_of
from polyvae.model.spec import Column, Spec


def made(**options):
    return recipes.vae(Spec((1, 8, 8)), **{"network": "mlp", "widths": (8,), "latent": 2, "seed": 0, **options})


def labelled(count=400):
    """Bright on the left or on the right: a task that a small classifier learns."""
    torch.manual_seed(0)
    y = torch.arange(count) % 2
    x = torch.randint(0, 60, (count, 1, 8, 8), dtype=torch.uint8)
    x[y == 0, :, :, :4] += 150
    x[y == 1, :, :, 4:] += 150
    return Split({"x": x, "y": y})


def test_squared_error_and_psnr_by_hand():
    x = torch.zeros(2, 1, 8, 8)
    found = errors(x, torch.tensor([0.1, 0.5]).view(2, 1, 1, 1).expand_as(x), True)
    torch.testing.assert_close(found["mse"], torch.tensor([0.01, 0.25]))
    torch.testing.assert_close(found["psnr"], torch.tensor([20.0, 6.0206]))


def test_psnr_is_that_of_torchmetrics():
    torch.manual_seed(0)
    x, other = torch.rand(4, 3, 16, 12), torch.rand(4, 3, 16, 12)
    expected = peak_signal_noise_ratio(other, x, data_range=1.0, reduction="none", dim=(1, 2, 3))
    torch.testing.assert_close(errors(x, other, True)["psnr"], expected)


def test_similarity_is_one_for_equal_pictures_falls_with_noise_and_is_per_picture():
    torch.manual_seed(0)
    x = torch.rand(5, 1, 28, 28)
    noise = torch.randn_like(x)
    values = [errors(x, (x + s * noise).clamp(0, 1), True)["ssim"] for s in (0.0, 0.1, 0.5)]
    torch.testing.assert_close(values[0], torch.ones(5))
    assert bool((values[0] > values[1]).all())
    assert bool((values[1] > values[2]).all())
    torch.testing.assert_close(errors(x[:2], (x + 0.1 * noise).clamp(0, 1)[:2], True)["ssim"], values[1][:2])


def test_small_pictures_have_no_similarity_and_tables_only_a_squared_error():
    assert set(errors(torch.rand(2, 1, 5, 8), torch.rand(2, 1, 5, 8), True)) == {"mse", "psnr"}
    assert set(errors(torch.rand(2, 5), torch.rand(2, 5), True)) == {"mse"}


def test_values_that_leave_the_unit_interval_are_compared_as_they_are():
    """Trap 46: fields compared as if they were pictures, 0.353 where the squared error is 8.999."""
    torch.manual_seed(0)
    field = Split({"x": 3 * torch.randn(40, 2, 8, 8)})
    spec = Spec((2, 8, 8), levels=None, columns=(Column("real"), Column("real")))
    source = recipes.vae(spec, network="mlp", widths=(8,), latent=2, seed=0)
    with torch.inference_mode():
        expected = (source.model.reconstruct(field.tensors)["x"].mean - field.tensors["x"]).square()
    found = evaluate(source, field, samples=1)
    assert found["mse"] == pytest.approx(float(expected.mean()), rel=1e-5)
    assert found["psnr"] is found["ssim"] is None
    assert any("no PSNR and SSIM" in note for note in found["notes"])
    # Without a spec the values themselves say where they lie.
    torch.testing.assert_close(reconstruction_errors(source.model, field)["mse"], expected.flatten(1).mean(1).double())


def test_values_beyond_the_unit_interval_are_judged_on_the_training_parts_scale():
    """Scaled and shifted pictures have the scores that they had, though a channel's units are its own."""
    torch.manual_seed(0)
    x, other = torch.rand(6, 2, 12, 9), torch.rand(6, 2, 12, 9)
    x[0, :, 0, 0], x[0, :, 0, 1] = 0.0, 1.0  # the ends of both channels
    scale, shift = torch.tensor([4.0, 1000.0]).view(2, 1, 1), torch.tensor([-2.0, 5.0]).view(2, 1, 1)
    limits = limits_of(scale * x + shift)
    torch.testing.assert_close(torch.stack(limits), torch.tensor([[-2.0, 5.0], [2.0, 1005.0]]))
    expected = errors(x, other, True)
    found = errors(scale * x + shift, scale * other + shift, False, limits)
    for name in ("psnr", "ssim"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["mse"], (scale * (x - other)).square().flatten(1).mean(1))
    # What leaves the training part's range is an error like any other.
    beyond = errors(x, x + 2, False, limits_of(x))
    torch.testing.assert_close(beyond["psnr"], torch.full((6,), -6.0206))
    assert set(errors(x, other, False)) == {"mse"}


def test_the_training_part_of_data_gives_the_scale_and_the_report_says_so():
    torch.manual_seed(0)
    spec = Spec((1, 8, 8), levels=None, columns=(Column("real"),))
    field = Data("field", *(Split({"x": 3 * torch.randn(count, 1, 8, 8)}) for count in (40, 5, 15)), spec)
    source = recipes.sigma_vae(field.spec, network="mlp", widths=(8,), latent=2, seed=0)
    report = evaluate(source, field, samples=1, frechet=5)
    low, high = limits_of(field.train.tensors["x"])
    with torch.inference_mode():
        made = source.model.reconstruct(field.test.tensors)["x"].mean
    squared = ((made - field.test.tensors["x"]) / (high - low)).square().flatten(1).mean(1)
    assert report["psnr"] == pytest.approx(float(-10 * squared.log10().mean()), rel=1e-4)
    assert "frechet" not in report
    assert sum("each channel's range in the training part" in note for note in report["notes"]) == 1
    assert sum("pictures in [0, 1]" in note for note in report["notes"]) == 1


def test_pictures_known_to_lie_in_the_unit_interval_are_clamped():
    x = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    assert in_unit(None, x)
    assert in_unit(None, x / 255)
    assert not in_unit(None, x / 255 - 0.1)
    assert in_unit(Spec((1, 8, 8), columns=(Column("grey"),)), 2.0 * x)
    assert not in_unit(Spec((1, 8, 8), columns=(Column("real"),)), x / 255)
    low, high = limits_of(x)
    assert float(low) == float(x.min()) / 255
    assert float(high) == float(x.max()) / 255
    torch.testing.assert_close(errors(x / 255, x / 255 + 2, True), errors(x / 255, torch.ones(5, 1, 8, 8), True))


def test_one_picture_has_a_similarity_too():
    found = reconstruction_errors(made(), labelled(101))
    assert {name: value.shape for name, value in found.items()} == dict.fromkeys(("mse", "psnr", "ssim"), (101,))


def test_distance_of_normals_is_the_closed_form():
    torch.manual_seed(0)
    a = torch.randn(100_000, 3, dtype=torch.float64)
    b = a * torch.tensor([2.0, 1.0, 0.5]) + torch.tensor([1.0, 0.0, 0.0])
    # Commuting covariances: |m|^2 + sum (s_a - s_b)^2.
    assert frechet_distance(a, b) == pytest.approx(1 + 1 + 0 + 0.25, rel=0.02)


def test_distance_is_symmetric_nothing_to_itself_and_matches_the_matrix_root():
    import scipy.linalg

    torch.manual_seed(0)
    a, b = torch.randn(200, 6) @ torch.randn(6, 6), torch.randn(150, 6) @ torch.randn(6, 6) + 1
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    s, t = torch.cov(a.double().T).numpy(), torch.cov(b.double().T).numpy()
    direct = (a.double().mean(0) - b.double().mean(0)).square().sum().item()
    direct += (s + t - 2 * scipy.linalg.sqrtm(s @ t).real).trace()
    assert frechet_distance(a, b) == pytest.approx(direct, rel=1e-6)


def test_distance_needs_two_rows():
    with pytest.raises(ValueError, match="2 rows"):
        frechet_distance(torch.zeros(1, 3), torch.zeros(5, 3))


def test_classifier_learns_is_cached_in_safetensors_and_read_back(tmp_path):
    split = labelled()
    first = train_classifier(split, tmp_path, steps=40, batch=32)
    assert accuracy(first, split) > 0.95
    (path,) = tmp_path.iterdir()
    assert path.suffix == ".safetensors"
    second = train_classifier(split, tmp_path, steps=40, batch=32)
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in load_file(path).items())
    assert not second.training


def test_classifier_of_other_data_has_another_key_and_a_broken_file_is_replaced(tmp_path):
    split = labelled(64)
    train_classifier(split, tmp_path, steps=1)
    train_classifier(split.take(range(32)), tmp_path, steps=1)
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 2
    for path in paths:
        path.write_bytes(path.read_bytes()[:100])
    train_classifier(split, tmp_path, steps=1)
    assert sum(path.stat().st_size > 100 for path in paths) == 1


def test_classifier_needs_pictures_and_labels():
    with pytest.raises(ValueError, match="labels"):
        train_classifier(Split({"x": torch.rand(4, 1, 8, 8)}))


def test_samples_for_the_distance_are_clamped_counted_and_seeded():
    source = recipes.sigma_vae(Spec((1, 8, 8)), network="mlp", widths=(8,), latent=2, seed=0)
    pictures = sampled_pictures(source, labelled(), 130)
    assert pictures.shape == (130, 1, 8, 8)
    assert 0 <= float(pictures.min()) <= float(pictures.max()) <= 1
    assert torch.equal(pictures, sampled_pictures(source, labelled(), 130))
    assert not torch.equal(pictures, sampled_pictures(source, labelled(), 130, seed=1))


def test_report_names_distance_counts_and_accuracy_and_never_downloads():
    split = labelled(120)
    classifier = train_classifier(split, steps=40, batch=32)
    report = evaluate(made(), split, samples=2, frechet=60, classifier=classifier)
    found = report["frechet"]
    assert (found["count"], found["real_count"]) == (60, 60)
    halves = found["halves"]
    assert halves["count"] == 60, "as many on either side as the distance itself has"
    assert halves["distance"] == found["distance"] > halves["real"] > 0
    more = evaluate(made(), split, samples=2, frechet=100, classifier=classifier)["frechet"]
    assert (more["count"], more["real_count"], more["halves"]["count"]) == (100, 100, 60)
    assert more["halves"]["distance"] > more["halves"]["real"]
    assert found["accuracy"] > 0.9
    assert found["inception"] is None
    assert any("weights not present" in note for note in report["notes"])


def test_a_conditional_model_is_given_the_splits_labels_over_and_over():
    source = recipes.cvae(Spec((1, 8, 8), classes=2), network="mlp", widths=(8,), latent=2, seed=0)
    assert sampled_pictures(source, labelled(30), 70).shape == (70, 1, 8, 8)


def test_without_weights_the_inception_distance_says_so(tmp_path):
    notes = []
    assert inception_distance(torch.rand(4, 1, 8, 8), torch.rand(4, 1, 8, 8), notes, tmp_path / "absent.pth") is None
    assert len(notes) == 1


def test_any_module_serves_as_features():
    features = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    report = evaluate(made(), labelled(20), samples=1, frechet=20, classifier=features)
    assert report["frechet"]["distance"] >= 0


def test_recognisable_is_the_share_a_classifier_is_sure_of():
    class Fixed(torch.nn.Module):
        """Logits that are the pictures' own values."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) * 10

    pictures = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.4, 0.0, 0.0], [0.0, 0.9, 0.0]]).view(4, 1, 1, 3)
    sure = torch.softmax(10 * pictures.flatten(1), 1).amax(1)
    for above in (0.4, 0.9, 0.97):
        assert recognisable(Fixed(), pictures, above) == float((sure > above).float().mean())
    with pytest.raises(ValueError, match="above is a probability below 1; got 1"):
        recognisable(Fixed(), pictures, 1.0)


def test_a_rejecting_classifier_knows_pictures_of_no_class():
    split = labelled()
    made = train_classifier(split, steps=150, batch=32, rejects=True)
    assert made(split.batch(torch.arange(3))["x"]).shape == (3, made.classes + 1)
    real = split.batch(torch.arange(len(split)))["x"]
    torch.manual_seed(0)
    strange = scrambled(real)
    assert torch.equal(strange.flatten(1).sort(1).values, real.flatten(1).sort(1).values)
    assert recognisable(made, real, 0.8) > 0.9
    assert recognisable(made, strange, 0.8) < 0.5


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 7, 10), (2, 9, 4)])
def test_scrambled_pictures_keep_their_tiles(shape):
    x = torch.rand(5, *shape)
    found = scrambled(x)
    assert found.shape == x.shape
    tile = max(2, min(shape[1:]) // 7)
    if not any(side % tile for side in shape[1:]):
        tiles = torch.nn.functional.unfold(x, tile, stride=tile)
        moved = torch.nn.functional.unfold(found, tile, stride=tile)
        torch.testing.assert_close(tiles.sum(1).sort(1).values, moved.sum(1).sort(1).values)
