"""What cannot be completed is refused by name, with what to do."""

import pytest
import torch
from torch import nn

import polyvae as pv
from helpers.completing import SHAPE, close, data, decoder, encoder, semi_conditional
from helpers.runs import pictures, small
from polyvae.completion.completer import Completer
from polyvae.model.families.real import PixelNormal
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.vae import VAE, Head
from polyvae.recipes import Recipe


def test_latents_come_from_one_of_some_places() -> None:
    with pytest.raises(ValueError, match="one of prior, weighed, moved, posterior, none; got 'z'"):
        Completer(latents="z")


def test_a_model_that_sees_nothing_is_refused_with_what_to_do() -> None:
    plain = VAE(encoder(), StandardNormal(2), decoder("z"))
    x, mask = data()
    with pytest.raises(ValueError, match=r"neither prior nor likelihood .* Take weigh='seen'"):
        pv.complete(plain, x, mask)
    with pytest.raises(ValueError, match="it would only reconstruct x, whatever is seen"):
        pv.complete(plain, x, mask, use_x=True)
    found = pv.complete(plain, x, mask, use_x=True, head="x", draws=3000)
    assert close(found.mean, plain.reconstruct({"x": x})["x"].mean.detach(), 0.1)


BAD = {
    "x of other dimensions": ({"x": torch.zeros(5, 6, 7)}, r"\[N, C, H, W\] or \[N, d\]"),
    "no examples": ({"x": torch.zeros(0, *SHAPE)}, "at least one"),
    "a mask of each channel": ({"mask": torch.ones(5, 2, 2, 3)}, r"mask is \[5 or 1, 1, 2, 3\] .* got \[5, 2, 2, 3\]"),
    "a mask of other sides": ({"mask": torch.ones(5, 1, 3, 2)}, r"got \[5, 1, 3, 2\]"),
    "a mask of other examples": ({"mask": torch.ones(4, *SHAPE)}, r"got \[4, 1, 2, 3\]"),
    "a mask without examples": ({"mask": torch.ones(2, 3)}, r"got \[2, 3\]"),
    "a mask of shares": ({"mask": torch.full((5, *SHAPE), 0.5)}, "it holds other numbers"),
    "a mask that is no number": ({"mask": torch.full((5, *SHAPE), torch.nan)}, "it holds other numbers"),
    "NaN that is seen": ({"x": torch.full((5, *SHAPE), torch.nan)}, "10 seen values of x are not finite"),
    "NaN the posterior reads": (
        {"x": torch.full((5, *SHAPE), torch.nan), "mask": torch.zeros(1, *SHAPE), "use_x": True},
        "the posterior reads all of x",
    ),
    "no draws": ({"draws": 0}, "at least 1; got 0"),
    "a quantile in per cent": ({"quantiles": (0.5, 95)}, r"between 0 and 1; got \[95\]"),
    "no candidates": ({"weigh": "seen", "candidates": 0}, "candidates counts draws .* got 0"),
    "candidates for nothing": ({"candidates": 5}, "without weights there are none"),
    "moves of nothing": ({"moves": 5}, "moves are those of weigh hamiltonian"),
    "moves of weighed draws": ({"weigh": "seen", "moves": 5}, "moves are those of weigh hamiltonian"),
    "another weighing": ({"weigh": "all"}, "weigh is one of none, seen, hamiltonian; got 'all'"),
    "weights of a posterior": ({"weigh": "seen", "use_x": True}, "they come from the posterior"),
    "another head": ({"head": "y"}, r"a head of the model is one of x; got 'y'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_by_name(case: str) -> None:
    x, mask = data()
    changed, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        pv.complete(semi_conditional(), **{"x": x, "mask": mask, **changed})


def test_a_quantile_that_was_not_asked_for_is_refused() -> None:
    x, mask = data()
    with pytest.raises(ValueError, match=r"those of 0\.05, 0\.5, 0\.95; got 0\.1"):
        pv.complete(semi_conditional(), x, mask).quantile(0.1)
    assert pv.complete(semi_conditional(), x, mask, quantiles=()).quantiles.shape == (0, 5, *SHAPE)


def test_a_model_of_something_else_is_refused() -> None:
    model = VAE(encoder(), StandardNormal(2), {"y": Head(decoder("z"), of="y")})
    with pytest.raises(ValueError, match=r"no head of this model explains 'x'; its heads are \['y'\]"):
        Completer().head_of(model)


def test_settings_are_named_and_unknown_ones_refused() -> None:
    x, mask = data()
    with pytest.raises(TypeError, match="no setting is named 'quantile'; did you mean quantiles"):
        pv.complete(semi_conditional(), x, mask, quantile=0.5)
    with pytest.raises(ValueError, match="keep is a whole number of at least 0; got -1"):
        pv.complete(semi_conditional(), x, mask, keep=-1)


def test_what_no_candidate_explains_is_refused_by_name() -> None:
    narrow = VAE(encoder(), StandardNormal(2), decoder("z", family=PixelNormal(1e-20)))  # errors overflow their squares
    x, mask = data()
    with pytest.raises(ValueError, match="no finite likelihood at any of its candidates"):
        pv.complete(narrow, 1e3 * x, mask, weigh="seen")


def test_what_is_not_like_the_data_of_a_run_is_refused_in_words() -> None:
    found = pictures(side=8)
    recipe = pv.recipes.arbitrary_conditioning(found.spec, widths=(4, 8), latent=2)
    run = pv.fit(recipe, found, epochs=1, device="cpu", progress=False)
    x, mask = found.train.tensors["x"][:3].float() / 255, torch.rand(3, 1, 8, 8) < 0.5
    with pytest.raises(ValueError, match=r"x is \[N, 1, 8, 8\] for this run; got \[3, 64\]"):
        pv.complete(run, x.flatten(1), mask.flatten(1))
    with pytest.raises(ValueError, match=r"lie in \[0, 1\], and x holds values beyond; divide by 255, or give bytes"):
        pv.complete(run, x * 255, mask)
    as_bytes = pv.complete(run, (x * 255).round().to(torch.uint8), mask, draws=3)
    assert torch.allclose(as_bytes.mean, pv.complete(run, x, mask, draws=3).mean, atol=1e-5)
    pv.complete(run, torch.where(mask, x, 300.0), mask, draws=3)  # nothing of which is read
    with pytest.raises(TypeError, match=r"Run\.load\('runs/first'\) reads; got its name"):
        pv.complete("runs/first", x, mask)
    with pytest.raises(ValueError, match=r"quantiles are several probabilities, such as \(0\.05, 0\.95\); got 0\.5"):
        pv.complete(run, x, mask, quantiles=0.5)


def test_values_that_nothing_reads_are_refused_with_what_the_model_reads() -> None:
    x, mask = data()
    y = torch.zeros(5, 3)
    with pytest.raises(ValueError, match=r"the model reads no 'q', only what is seen; leave it out of given"):
        pv.complete(semi_conditional(), x, mask, given={"q": y})
    model = VAE(encoder(), StandardNormal(2), decoder("z", "m", "y"))
    with pytest.raises(ValueError, match=r"the model reads no 'Y', only y beside what is seen; did you mean y\?"):
        pv.complete(model, x, mask, given={"Y": y, "y": y})
    with pytest.raises(ValueError, match="the model reads no 'x', only y beside what is seen"):
        pv.complete(model, x, mask, given={"x": x, "y": y})  # it would be taken for nothing
    pv.complete(model, x, mask, draws=2, given={"y": y})


def test_a_transform_of_ones_own_may_read_any_name() -> None:
    def observed(values: pv.Values) -> pv.Values:
        return {**values, "y": values["q"]}

    x, mask = data()
    model, y = VAE(encoder(), StandardNormal(2), decoder("z", "m", "y")), torch.rand(5, 3)
    by_q = pv.complete(Recipe(model, nn.Module(), observed), x, mask, draws=2, given={"q": y, "y": 0 * y})
    assert torch.equal(by_q.mean, pv.complete(model, x, mask, draws=2, given={"y": y}).mean)


def test_a_run_refuses_values_by_name_that_it_does_not_read() -> None:
    found = pictures(side=8)
    recipe = pv.recipes.arbitrary_conditioning(found.spec, widths=(4, 8), latent=2)
    run = pv.fit(recipe, found, epochs=1, device="cpu", progress=False)
    x = found.train.tensors["x"][:3]
    with pytest.raises(ValueError, match="the model reads no 'sensors', only what is seen"):
        run.complete(x, torch.ones(8, 8), given={"sensors": x})
    with pytest.raises(ValueError, match="the model reads no 'y', only what is seen"):
        run.complete(x, torch.ones(8, 8), y=[0, 1, 1])


def test_examples_by_name_hold_x_and_what_is_read() -> None:
    held = pictures(side=8)
    recipe = small("semi_conditional", held)
    run = pv.fit(recipe, held, epochs=1, progress=False, device="cpu")
    x = held.train.tensors["x"][:3].float() / 255
    mask = torch.zeros(1, 1, 8, 8)
    for given, message in (
        ({"x": x, "mask": mask}, "'mask', which nothing reads; a mask is given apart, as mask="),
        ({"x": x, "seem": mask}, "'seem', which nothing reads; did you mean seen"),
        ({"previous": x}, "no 'x' among the examples given by name: 'previous'"),
        ({}, "no 'x' among the examples given by name: there are none"),
        ((x, mask), r"reads no y; got a tensor of shape \[1, 1, 8, 8\]; a mask is given apart"),
        ((x, mask, mask), "a pair \\(x, y\\); got 3 values"),
    ):
        with pytest.raises(ValueError, match=message):
            pv.complete(run, given, mask)
    with pytest.raises(
        ValueError, match=r"mask is 1 where .*\[3, 1, 8, 8\]; got 'uniform': .*observation\('uniform', 12\)"
    ):
        pv.complete(run, x, "uniform")
    for given in (torch.arange(3), 3, "y"):
        with pytest.raises(ValueError, match=r"given is values by name, as given=\{'y': \.\.\.\}; got a"):
            pv.complete(run, x, mask, given=given)  # pyright: ignore[reportArgumentType]
    labelled = pv.complete(run, (x, torch.arange(3)), mask, draws=2, seed=1)  # as data sets hold them
    assert torch.equal(labelled.mean, pv.complete(run, {"x": x}, mask, draws=2, seed=1).mean)
