"""The vector-quantised autoencoder as a whole: networks, recipe and training."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import polyvae as pv
from helpers.contract import examples
from helpers.networks import layers
from helpers.runs import same, timeless, weights
from helpers.striped import FIT, SMALL, recipe, stripes
from polyvae.model.networks.vq import code_shape, downsampling, flat, upsampling
from polyvae.recipes import vq_vae
from polyvae.recipes.latents import latent_part
from polyvae.recipes.options import Codes, Gaussian
from polyvae.training.fit import fit
from polyvae.training.store import read_metrics

THESIS = {1: (128, 16, (32, 64), 0), 2: (128, 32, (128, 256), 2), 3: (256, 64, (128, 256), 4)}


shapes = st.tuples(st.integers(1, 3), st.integers(1, 33), st.integers(1, 33))


@given(shape=shapes, dim=st.integers(1, 5), widths=st.lists(st.integers(1, 5), min_size=1, max_size=3))
@settings(max_examples=30, deadline=None)
def test_any_picture_goes_to_a_map_and_exactly_back(shape: Any, dim: int, widths: list[int]) -> None:
    encoder, code = downsampling(shape, dim, widths, 1)
    assert code == (dim, *(max(1, math.ceil(side / 2 ** len(widths))) for side in shape[1:]))
    z = encoder(torch.rand(2, *shape))
    assert z.shape == (2, *code)
    assert upsampling(code, shape, widths, 1)(z).shape == (2, *shape)
    other = torch.rand(2, 4, 3)
    assert flat((code, (4, 3)), shape, widths, 1)(z, other).shape == (2, *shape)


@pytest.mark.parametrize("blocks", [0, 2])
def test_the_decoder_is_the_encoder_mirrored_without_statistics_of_a_batch(blocks: int) -> None:
    encoder, code = downsampling((3, 32, 32), 16, (32, 64), blocks)
    decoder = upsampling(code, (3, 32, 32), (32, 64), blocks)
    ends = [(64, 32), (32, 3)]
    assert layers(decoder)[0] == (64, 16)
    assert [size[::-1] for size in layers(encoder)[:2]][::-1] == [(32, 64), (3, 32)]
    assert layers(decoder)[-2:] == ends  # a transposed convolution holds its weight as (in, out)
    assert layers(decoder)[1:-2] == layers(encoder)[2:-1] == [(64, 64)] * 2 * blocks
    for net in (encoder, decoder, flat((code,), (3, 32, 32), (32, 64), blocks)):
        assert not [m for m in net.modules() if "Norm" in type(m).__name__]
        net.eval()
        torch.testing.assert_close(net.train()(torch.ones(2, *_input(net))), net.eval()(torch.ones(2, *_input(net))))
    assert flat((code, (5,)), (3, 32, 32), (32, 64), blocks).linear.in_features == 16 * 8 * 8 + 5


def _input(net: nn.Module) -> tuple[int, ...]:
    return net.input if hasattr(net, "input") else net.inputs[0]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_results_do_not_depend_on_the_layout_of_weights_and_input(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    encoder, code = downsampling((3, 16, 12), 8, (16, 32), 1)
    decoder = upsampling(code, (3, 16, 12), (16, 32), 1)
    x = torch.rand(5, 3, 16, 12)
    expected = decoder(encoder(x))
    for net in (encoder, decoder):
        net.to(memory_format=layout)
    assert torch.equal(decoder(encoder(x.contiguous(memory_format=layout))), expected)


@pytest.mark.parametrize("number", THESIS)
@pytest.mark.parametrize(("shape", "side"), [((1, 28, 28), 7), ((3, 32, 32), 8), ((3, 64, 64), 16)])
def test_the_configurations_of_the_study(number: int, shape: tuple[int, ...], side: int) -> None:
    codes, dim, widths, blocks = THESIS[number]
    with torch.device("meta"):
        made = vq_vae(pv.Spec(shape), codes=codes, dim=dim, widths=widths, blocks=blocks, likelihood="normal")
    assert made.model.posterior["z"].codebook.weight.shape == (codes, dim)
    assert made.model.prior["z"].positions == (side, side)
    residuals = [m for m in made.model.modules() if type(m).__name__ == "Residual"]
    assert len(residuals) == 2 * blocks
    strided = [m for m in made.model.modules() if getattr(m, "stride", None) == (2, 2)]
    assert all(m.kernel_size == (3, 3) for m in strided)
    assert len(strided) == 4
    assert vq_vae(pv.Spec(shape), seed=0).call["options"] == {"seed": 0}  # the first of them is the default


@pytest.mark.parametrize("decoder", ["map", "flat"])
@pytest.mark.parametrize("codebook", ["gradient", "ema"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 10), (5,)])
def test_codes_come_out_and_go_in(shape: tuple[int, ...], codebook: str, decoder: str) -> None:
    spec = pv.Spec(shape, levels=None if len(shape) == 1 else 256)
    made = vq_vae(spec, codebook=codebook, decoder=decoder, **SMALL)
    batch = examples(spec)
    made.start(batch)
    model = made.model.eval()
    law = model.encode(batch)["z"]
    assert law.codes.dtype == torch.int64
    assert law.codes.shape == (12, *code_shape(shape, 3, (4, 6))[1:])
    assert 0 <= int(law.codes.min()) < int(law.codes.max()) < 9
    one, other = model.decode({"z": law.codes})["x"].mean, model.reconstruct(batch)["x"].mean
    assert torch.equal(one, other)
    assert model.generate(count=5)["x"].sample().shape == (5, *shape)
    assert torch.equal(model.encode(batch)["z"].codes, law.codes)


@pytest.mark.parametrize("likelihood", pv.families.LIKELIHOODS)
def test_every_likelihood_goes_with_codes(likelihood: str) -> None:
    spec = pv.Spec((3, 6, 5))
    made = vq_vae(spec, likelihood=likelihood, **SMALL)
    values = made.objective(made.model, examples(spec))
    values["loss"].backward()
    assert all(parameter.grad.any() for parameter in made.model.parameters())
    assert made.monitor == "bound"
    assert values["bound"].item() == pytest.approx(-values["reconstruction"].item() - 4 * math.log(9), rel=1e-5)


def test_the_two_latents_of_recipes_say_what_they_are_made_of() -> None:
    spec = pv.Spec((1, 8, 8))
    part = latent_part(Codes(9, 3, (4, 6), codebook="ema", beta=0.5), spec, {})
    assert part.shape == (3, 2, 2)
    assert {name: weighted.weight for name, weighted in part.terms.items()} == {"commitment": 0.5 * 64 / 12}
    assert part.start is not None
    assert part.posterior.given == ("x",)
    assert latent_part(Codes(kmeans=False), spec, {}).start is None
    plain = latent_part(Gaussian(5, "mlp", (6,)), spec, {"m": (2,)})
    assert (plain.shape, list(plain.terms), plain.start) == ((5,), ["kl"], None)
    law = plain.posterior({"x": torch.zeros(2, 1, 8, 8), "m": torch.zeros(2, 2)})
    assert law.event_shape == (5,)


def test_what_makes_no_sense_is_refused() -> None:
    spec = pv.Spec((1, 8, 8))
    for options, words in {
        ("codebook", "both"): "codebook is one of gradient, ema; got 'both'",
        ("decoder", "deep"): "decoder is one of map, flat; got 'deep'",
        ("beta", -1): "beta is a number of at least 0; got -1",
        ("blocks", -1): "blocks is a whole number of at least 0; got -1",
        ("widths", ()): "widths is one width a layer",
        ("codes", 1): "codes is a whole number of at least 2; got 1",
    }.items():
        with pytest.raises(ValueError, match=words):
            vq_vae(spec, **{options[0]: options[1]})
    with pytest.raises(ValueError, match=r"2 strides take \(8, 8\) to \(2, 2\), the code is \(3, 4, 4\)"):
        upsampling((3, 4, 4), (1, 8, 8), (4, 4), 0)
    made = pv.recipes.vae(spec, network="mlp")
    with pytest.raises(ValueError, match="need a quantised latent; the model has none"):
        pv.terms.Commitment()(made.model(examples(spec)))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("codebook", ["gradient", "ema"])
def test_training_lowers_every_cost_and_fills_the_columns(codebook: str, precision: str, tmp_path: Path) -> None:
    made = vq_vae(pv.Spec((1, 8, 8)), likelihood="normal", codebook=codebook, **SMALL)
    run = fit(made, stripes(), tmp_path / "run", **{**FIT, "epochs": 12, "precision": precision})
    rows = read_metrics(tmp_path / "run" / "metrics.csv")
    assert rows == run.history
    first, last = rows[0], rows[-1]
    assert last["validation_reconstruction"] < first["validation_reconstruction"] - 1
    assert last["validation_bound"] == pytest.approx(-last["validation_reconstruction"] - 4 * math.log(9), rel=1e-5)
    for row in rows:
        assert 1 <= row["train_perplexity"] <= 9
        assert 1 / 9 <= row["train_usage"] <= 1
    assert last["train_perplexity"] > 3
    assert last["validation_commitment"] > 0
    assert made.model.posterior["z"].codebook.weight.dtype == torch.float32
    assert ("validation_codebook" in last) == (codebook == "gradient")


@pytest.mark.parametrize("options", [{"codebook": "ema", "revive": 0.9}, {"revive": 0.9}])
def test_a_run_stopped_and_resumed_is_the_same_run(options: dict[str, Any], tmp_path: Path) -> None:
    data = stripes()
    given = {**FIT, "epochs": 3, "average": 0.8}
    whole = fit(recipe(**options), data, tmp_path / "whole", **given)
    for step in (1, 5, 7):  # 5 steps an epoch
        fit(recipe(**options), data, tmp_path / str(step), **given, max_steps=step)
        again = fit(recipe(**options), data, tmp_path / str(step), **given, resume=True)
        assert same(weights(again.recipe), weights(whole.recipe)), f"stopped after step {step}"
        assert timeless(again.history) == timeless(whole.history)


@pytest.mark.parametrize(("processes", "batch_size"), [(2, 16), (3, 23)])
def test_several_processes_train_the_codes_of_one(
    processes: int, batch_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyvae.training.devices.processors", lambda: processes)  # three may well share two processors
    data = stripes(95)  # 71 to train on: batches that two cannot share evenly, a last one of two examples for three
    given = {**FIT, "batch_size": batch_size}
    one, several = (
        fit(recipe(codebook="ema", revive=0.0), data, tmp_path / str(devices), devices=devices, **given)
        for devices in (1, processes)
    )
    for name, tensor in weights(one.recipe).items():
        torch.testing.assert_close(weights(several.recipe)[name], tensor, rtol=1e-3, atol=1e-5)
    for mine, theirs in zip(timeless(one.history), timeless(several.history), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-3)
        assert mine["train_perplexity"] == pytest.approx(theirs["train_perplexity"], rel=1e-9)


def test_the_kmeans_start_follows_the_seed_of_the_run_and_uses_the_words(tmp_path: Path) -> None:
    def words(seed: int) -> Tensor:
        made = recipe(codebook="ema", revive=0.0)
        fit(made, stripes(), **{**FIT, "epochs": 0, "seed": seed})
        return made.model.posterior["z"].codebook.weight.clone()

    assert torch.equal(words(3), words(3))
    assert not torch.equal(words(3), words(4))
    made, x = recipe(), stripes().train.batch(torch.arange(72))["x"]
    made.start({"x": x})
    assert len(made.model.encode({"x": x})["z"].codes.unique()) == 9
    assert made.model.training


def test_two_epochs_on_mnist_beat_the_bar(real_data: Callable[[str], Path | None]) -> None:
    folder = real_data("mnist")
    if folder is None:
        data, epochs, bar, least = pv.data.load("digits"), 15, 0.025, 60.0
    else:
        data, epochs, bar, least = pv.data.load("mnist", folder.parent, limit=4000), 2, 0.012, 20.0
    run = fit(vq_vae(data.spec, likelihood="normal", seed=0), data, epochs=epochs, batch_size=64, progress=False)
    last = run.history[-1]
    pixels = data.spec.dimensions
    mse = last["validation_reconstruction"] / pixels - 0.5 * math.log(math.pi)
    assert mse < bar
    assert last["train_perplexity"] > least
    assert last["train_usage"] > 0.9
