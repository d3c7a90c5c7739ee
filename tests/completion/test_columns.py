"""Completions of mixed tables: numbers beside their columns' spread, labels and bits by error rate and log loss."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from torch import Tensor

from helpers.completing import of
from polyvae import figures, recipes
from polyvae.cli.complete import table
from polyvae.cli.printing import stacked
from polyvae.completion.baselines import Learned
from polyvae.completion.completer import Completer
from polyvae.completion.gappy_pca import best_rank
from polyvae.completion.scores import Score, score_completions
from polyvae.data import wrap
from polyvae.data.split import Data, Split
from polyvae.evaluation.calibration import normal_crps
from polyvae.model.spec import Column, Spec
from polyvae.observe.masks import observation
from polyvae.recipes import Recipe

STREAM = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "height": STREAM.normal(1e4, 50, 400),
        "colour": STREAM.choice(["red", "green", "blue"], 400, p=[0.6, 0.3, 0.1]),
        "width": STREAM.normal(0, 1e-3, 400),
        "tall": STREAM.integers(0, 2, 400),
        "same": np.full(400, 2.5),
    }
)
NUMBERS, CODES = [0, 2], [1, 3]


@pytest.fixture(scope="module")
def data() -> Data:
    return wrap(FRAME, test=0.25)


@pytest.fixture(scope="module")
def constant(data: Data) -> Recipe:
    """A model whose law of x depends on nothing, so that every score of it is known in closed form."""
    return constant_of(data)


def constant_of(data: Data) -> Recipe:
    made = recipes.arbitrary_conditioning(data.spec, network="mlp", widths=(8,), latent=2, seed=0)
    with torch.no_grad():
        for number, value in enumerate(made.model.heads["x"].likelihood.net.parameters()):  # pyright: ignore
            value.zero_()
            if value.ndim == 1:
                value.add_(torch.randn(value.shape, generator=torch.Generator().manual_seed(number)))
    return made


def law_of(made: Recipe) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean and standard deviation of each column, and the chances of labels and of bits."""
    law = made.model.decode({"z": torch.zeros(1, 2), "m": torch.zeros(1, 10)})["x"]
    chances = [part.logits[0].detach() for part in law.parts if hasattr(part, "logits")]  # pyright: ignore
    return law.mean[0].detach(), law.variance[0].sqrt().detach(), chances[0][0].exp(), chances[1].sigmoid()


def scored(made: Recipe, data: Data, column: int = 0, draws: int = 8, trained: bool = True) -> list[Score]:
    masks = {1: observation("points", positions=[column])}
    others = (Learned(data.train, data.validation),) if trained else ()
    return score_completions(made, data.test, masks, Completer(draws), *others)


def test_labels_and_bits_have_an_error_rate_and_a_log_loss_and_numbers_an_error_beside_their_spread(
    constant: Recipe, data: Data
) -> None:
    x = data.test.tensors["x"]
    mean, std, labels, bits = law_of(constant)
    found = of(scored(constant, data, draws=2000), "model")
    scale = x.double().std(0, correction=0)
    for errors, where in ((found.unseen, [2]), (found.all, NUMBERS)):  # the first column is seen
        shares = ((x - mean).double() / scale).square()[:, where]
        assert errors.mse == pytest.approx(float(shares.mean()), rel=1e-4)
        assert errors.mse_error == pytest.approx(float(shares.mean(1).std()) / len(x) ** 0.5, rel=1e-4)
        crps = (normal_crps(x, mean, std) / scale)[:, where].mean()
        assert errors.crps == pytest.approx(float(crps), rel=0.03)
        inside = ((x - mean).abs() < 1.6449 * std)[:, where].double().mean()
        assert errors.coverage[0.9] == pytest.approx(float(inside), abs=0.03)
    codes, ones = x[:, 1].long(), x[:, 3]
    wrong = [codes != labels.argmax(), ones != (bits > 0.5)]
    chance = [labels[codes], torch.where(ones == 1, bits, 1 - bits)]
    assert found.unseen.wrong == pytest.approx(float(torch.stack(wrong).double().mean()))
    assert found.unseen.log_loss == pytest.approx(-float(torch.stack(chance).log().mean()), rel=1e-4)


def test_seen_labels_are_not_among_the_unseen(constant: Recipe, data: Data) -> None:
    x, (_, _, labels, bits) = data.test.tensors["x"], law_of(constant)
    found = of(scored(constant, data, column=1), "model")
    assert found.unseen.wrong == pytest.approx(float((x[:, 3] != (bits > 0.5)).double().mean()))
    assert found.all.wrong == pytest.approx(
        float(torch.stack([x[:, 3] != (bits > 0.5), x[:, 1] != labels.argmax()]).double().mean())
    )


def test_units_of_columns_change_no_score(constant: Recipe, data: Data) -> None:
    stretched = wrap(FRAME.assign(width=FRAME["width"] * 1e6), test=0.25)
    for mine, other in zip(scored(constant, data), scored(constant_of(stretched), stretched), strict=True):
        assert mine.unseen.wrong == other.unseen.wrong
        for errors, others in ((mine.unseen, other.unseen), (mine.all, other.all)):
            assert (errors.mse is None) == (others.mse is None) == (mine.method == "training shares")
            if errors.mse is not None:
                assert [errors.mse, errors.crps] == pytest.approx([others.mse, others.crps], rel=1e-3)


def test_baselines_are_of_standardised_numbers_and_of_the_labels_shares(constant: Recipe, data: Data) -> None:
    found = scored(constant, data)
    assert {score.method for score in found} == {
        "model",
        "gappy PCA",
        "normal law",
        "normal mixture",
        "Gaussian process",
        "training shares",
    }
    x, train, held = (part.tensors["x"] for part in (data.test, data.train, data.validation))
    scale = x.double().std(0, correction=0)
    parts = [(part.double() / scale)[:, NUMBERS] for part in (train, held, x)]
    masks = torch.tensor([[1, 0]]).expand(len(x), 2)
    chosen = best_rank(parts[0], parts[1], torch.tensor([[1, 0]]).expand(len(held), 2), [0, 1, 2])
    error = (chosen.complete(parts[2], masks) - parts[2])[:, 1].square().mean()
    gappy, shares = of(found, "gappy PCA"), of(found, "training shares")
    assert gappy.unseen.mse == pytest.approx(float(error), rel=1e-3)
    assert (gappy.unseen.wrong, gappy.unseen.log_loss) == (None, None)
    losses, wrong = [], []
    for column, size in ((1, 3), (3, 2)):
        counts = torch.bincount(train[:, column].long(), minlength=size)
        chances = (counts + 1) / (counts.sum() + size)
        losses.append(-chances[x[:, column].long()].log())
        wrong.append((x[:, column] != counts.argmax()).double())
    assert shares.unseen.log_loss == pytest.approx(float(torch.stack(losses).mean()), rel=1e-4)
    assert shares.unseen.wrong == pytest.approx(float(torch.stack(wrong).mean()))
    assert (shares.unseen.mse, shares.unseen.crps, shares.calibrated) == (None, None, None)


def test_the_printed_table_and_the_figure_tell_numbers_and_labels_apart(constant: Recipe, data: Data) -> None:
    found = scored(constant, data)
    shown = table(found, "title")
    heads = [str(column.header) for column in shown.columns]
    assert (heads[2], heads[-2:]) == ("squared error", ["wrong", "log loss"])
    assert "of numbers, in standard deviations" in str(shown.caption)
    drawn = figures.drawing(figures.point_errors(found))
    titles = [axes.get_title().split("\n")[-1] for axes in drawn.axes]
    assert titles[:2] == ["numbers, in standard deviations of their columns"] * 2
    assert titles[2:] == ["unseen labels and bits: share that is wrong", "unseen labels and bits: log loss, nats"]


def test_a_table_wider_than_the_terminal_is_stacked_and_cuts_no_number(constant: Recipe, data: Data) -> None:
    whole = table(scored(constant, data), "title")
    parts = stacked(whole, 80)
    assert len(parts) > 1
    assert len(stacked(whole, 160)) == 1
    printed = Console(width=80, file=io.StringIO(), record=True)
    for part in parts:
        printed.print(part)
    text = printed.export_text()
    assert "…" not in text
    assert "of numbers, in standard" in text
    heads = [str(column.header) for part in parts for column in part.columns[2:]]
    assert heads == [str(column.header) for column in whole.columns[2:]]
    assert all(part.row_count == whole.row_count for part in parts)
    # All that is scored of a table varies: a second line of coverage would be the first again.
    assert not any("vary" in head for head in heads)


def test_a_table_of_labels_and_bits_alone_has_no_squared_error() -> None:
    data = wrap(FRAME[["colour", "tall"]], test=0.25)
    made = recipes.arbitrary_conditioning(data.spec, network="mlp", widths=(8,), latent=2, seed=0)
    found = scored(made, data)
    assert {score.method for score in found} == {"model", "training shares"}
    assert all(score.unseen.mse is None and score.unseen.wrong is not None for score in found)
    assert [str(column.header) for column in table(found, "").columns] == ["points", "method", "wrong", "log loss"]
    assert len(figures.drawing(figures.point_errors(found)).axes) == 2


def test_bits_of_a_field_are_no_numbers_either() -> None:
    wet = STREAM.integers(0, 2, (60, 1, 4, 4))
    x = torch.tensor(np.concatenate([STREAM.normal(0, 30, (60, 1, 4, 4)), wet], 1), dtype=torch.float32)
    spec = Spec((2, 4, 4), levels=None, columns=(Column("real", "u", scale=30.0), Column("bits", "wet")))
    made = recipes.arbitrary_conditioning(spec, network="mlp", widths=(8,), latent=2, seed=0)
    split = Split({"x": x})
    found = score_completions(made, split, {4: observation("grid", 4)}, Completer(8, "weighed"), Learned(split, split))
    assert [score.method for score in found] == [
        "model",
        "nearest",
        "linear",
        "gappy PCA",
        "normal law",
        "normal mixture",
        "kriging",
        "Gaussian process",
        "training shares",
    ]
    assert of(found, "model").unseen.wrong == pytest.approx(0.5, abs=0.1)
    assert of(found, "nearest").unseen.mse == pytest.approx(2, rel=0.1)
    assert of(found, "nearest").unseen.wrong is None
