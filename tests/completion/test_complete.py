"""Completion: what it reads and what it leaves alone, whatever the chunks."""

import pytest
import torch
from torch import nn

import polyvae as pv
from helpers.completing import SHAPE, Around, Sum, close, data, decoder, encoder, maps, random, semi_conditional
from helpers.runs import pictures
from polyvae.data import Data, Split
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.vae import VAE, Head
from polyvae.observe.masks import SparsePixels, sparse
from polyvae.observe.transforms import Binarise, OneHot, chain
from polyvae.recipes import Recipe


def test_the_head_that_reads_the_observation_predicts_unless_another_is_named() -> None:
    heads = {"x": Head(decoder("z")), "x_given_m": Head(decoder("z", "m"))}
    model = VAE(encoder(), StandardNormal(2), heads)
    alone = VAE(encoder(), StandardNormal(2), heads["x_given_m"].likelihood)
    x, mask = data()
    torch.testing.assert_close(pv.complete(model, x, mask).mean, pv.complete(alone, x, mask).mean)
    plain = pv.complete(model, x, mask, head="x", use_x=True, draws=3000)
    empty = pv.complete(model, x, torch.zeros(1, *SHAPE), head="x", use_x=True, draws=3000)
    torch.testing.assert_close(plain.mean, empty.mean)  # it does not see the mask


def test_labels_reach_the_model_through_its_own_transform() -> None:
    model = VAE(encoder(), StandardNormal(2), decoder("z", "m", "y"))
    recipe = Recipe(model, nn.Module(), chain(OneHot("y", 3), SparsePixels()))
    x, mask = data()
    y = torch.arange(5) % 3
    found = pv.complete(recipe, x, mask, draws=5000, given={"y": y})
    _, b, c = maps(model)
    assert close(found.mean.flatten(1), sparse(x, mask).flatten(1) @ b.T + c.T[y], 0.2)
    with pytest.raises(ValueError, match=r"also reads \['y'\]; give them, as given=\{'y': ...\}"):
        pv.complete(recipe, x, mask)
    with pytest.raises(ValueError, match=r"x holds 5 examples; got \{'y': 2\}"):
        pv.complete(recipe, x, mask, given={"y": y[:2]})


def test_the_masks_of_a_recipe_are_not_drawn_but_the_given_one_is_taken() -> None:
    model = semi_conditional()
    x, mask = data()
    for recipe in (Recipe(model, nn.Module(), SparsePixels()), Recipe(model, nn.Module(), chain(SparsePixels()))):
        torch.testing.assert_close(pv.complete(recipe, x, mask).mean, pv.complete(model, x, mask).mean)


def test_tables_bytes_and_one_mask_for_all() -> None:
    table = VAE(Around(Sum([6], (2,)), "x"), StandardNormal(2), decoder("z", "m", shape=(6,)))
    x, mask = data()
    found = pv.complete(table, x.flatten(1), mask[:1].flatten(1))
    assert found.mean.shape == (5, 6)
    torch.testing.assert_close(found.mean, pv.complete(table, x.flatten(1), mask[:1].flatten(1).expand(5, 6)).mean)
    levels = torch.randint(0, 256, (5, *SHAPE), dtype=torch.uint8)
    model = semi_conditional()
    torch.testing.assert_close(pv.complete(model, levels, mask).mean, pv.complete(model, levels / 255, mask).mean)


def test_what_is_not_seen_does_not_matter_and_may_be_no_number() -> None:
    x, mask = data()
    model = semi_conditional()
    for weigh in ("none", "seen"):
        found = [
            pv.complete(model, torch.where(mask, x, value), mask, weigh=weigh)
            for value in (0.0, 7.0, torch.nan, torch.inf)
        ]
        assert all(torch.equal(found[0].quantiles, other.quantiles) for other in found[1:])


def test_nothing_depends_on_chunks_but_for_noise_nor_touches_the_global_generator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = semi_conditional()
    x, mask = random(230, *SHAPE), data(230)[1]
    torch.manual_seed(3)
    before = torch.get_rng_state()
    whole, again = pv.complete(model, x, mask), pv.complete(model, x, mask)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(whole.quantiles, again.quantiles)
    assert not torch.equal(whole.mean, pv.complete(model, x, mask, seed=1).mean)
    assert torch.equal(whole.std[100:200], pv.complete(model, x[:200], mask[:200]).std[100:])
    # Chunks of 8 values: a draw of one example at a time, ten examples' draws held at once.
    monkeypatch.setattr("polyvae.evaluation.bounds._CPU_VALUES", 750)
    pieces = pv.complete(model, x, mask, draws=100)
    assert pieces.mean.shape == whole.mean.shape
    assert close(pieces.mean, whole.mean, 1.5)
    assert pieces.samples.shape == whole.samples.shape


def test_results_hold_no_gradient_and_the_model_is_left_as_it_was() -> None:
    model = semi_conditional().train()
    x, mask = data()
    found = pv.complete(model, x, mask)
    assert model.training
    assert not found.mean.requires_grad
    found.mean.add_(1)  # and may be changed


def _labelled(found: Data) -> pv.Run:
    recipe = pv.recipes.arbitrary_conditioning(found.spec, widths=(4, 8), latent=2, condition=True, dropped=0.2)
    return pv.fit(recipe, found, epochs=1, device="cpu", progress=False)


def test_examples_come_as_a_split_as_data_by_name_or_with_their_labels_too() -> None:
    found = pictures(side=8, labels=True)
    run, part = _labelled(found), found.validation
    x, y, mask = part.tensors["x"], part.tensors["y"], torch.rand(1, 1, 8, 8) < 0.5
    asked = pv.complete(run, x, mask, draws=3, given={"y": y})
    for form in (part, found, dict(part.tensors), (x, y)):  # Data without a test part have a validation part
        for made in (pv.complete(run, form, mask, draws=3), run.complete(form, mask, draws=3)):
            assert torch.equal(torch.as_tensor(made.mean), asked.mean)
    known = torch.arange(len(x)) % 2 == 0
    partly = Split({"x": x, "y": y, "y_known": known})
    wanted = pv.complete(run, x, mask, draws=3, given={"y": y, "y_known": known})
    assert torch.equal(pv.complete(run, partly, mask, draws=3).mean, wanted.mean)


def test_a_split_says_by_itself_what_it_lacks_and_how_it_is_shown() -> None:
    found = pictures(side=8, labels=True)
    run, x = _labelled(found), found.validation.tensors["x"]
    seen = torch.rand(len(x), 1, 8, 8) < 0.5
    y = found.validation.tensors["y"]
    gaps = Split({"x": x, "y": y, "seen": seen})
    wanted = pv.complete(run, x, seen, draws=3, given={"y": y}).mean
    assert torch.equal(pv.complete(run, gaps, draws=3).mean, wanted)
    bits = Split({"x": x, "y": y}, Binarise("threshold"))
    wanted = pv.complete(run, (x >= 128).float(), seen, draws=3, given={"y": y}).mean
    assert torch.equal(pv.complete(run, bits, seen, draws=3).mean, wanted)
    assert torch.equal(run.complete(bits, seen, draws=3).mean, wanted)
