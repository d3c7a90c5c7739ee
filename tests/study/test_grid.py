"""The grid of the study: its cells, their names and recipes, beside the published table."""

from __future__ import annotations

import csv
from importlib.resources import files
from math import sqrt

import pytest
import torch

import polyvae as pv
from polyvae.model.networks.sparse import MultiscaleDecoder
from polyvae.recipes import named
from polyvae.study import Cell, Method, cells, methods, published
from polyvae.study.thesis.grid import FOLDS, chosen_folds, dataset_name, grid_points, select

MNIST = pv.Spec((1, 28, 28))


def test_every_published_line_has_a_cell_and_every_other_cell_is_another_exponent() -> None:
    grid = {cell.name: cell for cell in cells(["mnist", "cifar10", "celeba"])}
    assert len(grid) == 3 * (2 + 3) * 15
    assert set(published()) <= set(grid)
    assert len(published()) == 3 * (2 + 3) * 9
    left = [grid[name].method.exponent for name in set(grid) - set(published())]
    assert set(left) == {20, 30, 50}


def test_published_values_are_read_as_they_stand_and_variances_become_deviations() -> None:
    text = files("polyvae.study.thesis").joinpath("published.csv").read_text()
    rows = {row["cell"]: row for row in csv.DictReader(text.splitlines())}
    row = rows["mnist-vq-1-two-uniform-softadapt"]
    assert (row["reconstruction"], row["latent"]) == ("0.0024", "0.0042")
    found = published()["mnist-vq-1-two-uniform-softadapt"]
    assert found.mse == 0.0024
    assert found.mse_sd == pytest.approx(sqrt(3.6e-8))
    assert found.latent_sd == pytest.approx(sqrt(2.4e-7))
    gaussian = published()["mnist-gaussian-1-one-gaussian-40"]
    assert (gaussian.mse, gaussian.latent) == (0.0241, 9.8522)
    assert gaussian.mse_sd == pytest.approx(sqrt(3.6e-2) / 784)
    assert gaussian.latent_sd == pytest.approx(sqrt(5.3))


def test_a_variance_of_five_numbers_that_are_not_negative_has_a_bound_that_most_gaussian_lines_exceed() -> None:
    """Which is why they are read as variances of a sum over pixels: sum (x - m)^2 / 4 <= 5 m^2 for mean m."""
    text = files("polyvae.study.thesis").joinpath("published.csv").read_text()
    rows = [row for row in csv.DictReader(text.splitlines()) if "-gaussian-" in row["cell"].removesuffix("40")]
    lines = [row for row in rows if row["cell"].split("-")[1] == "gaussian"]
    beyond = [r for r in lines if float(r["reconstruction_variance"]) > 5 * float(r["reconstruction"]) ** 2]
    assert (len(beyond), len(lines)) == (49, 54)


def test_names_of_methods_and_cells() -> None:
    assert [method.name for method in methods()][:6] == [
        "baseline",
        "two-grid",
        "two-grid-softadapt",
        "two-uniform",
        "two-uniform-softadapt",
        "one-gaussian-20",
    ]
    assert len(methods()) == len(set(methods())) == 15
    assert Cell("mnist", "vq", 3, Method("two", "grid", True)).name == "mnist-vq-3-two-grid-softadapt"
    assert dataset_name("some/Where my.data.npz") == "where_my_data"
    assert dataset_name("cifar10") == "cifar10"


@pytest.mark.parametrize("family", ["gaussian", "vq"])
@pytest.mark.parametrize("config", [1, 2])
def test_methods_have_the_networks_of_the_baseline_and_the_decoder_with_m_only_more_inputs(
    family: str, config: int
) -> None:
    """Trap 30: encoders are equal, decoders without m too; a decoder with m has a wider first layer, nothing else."""
    spec = pv.Spec((1, 16, 16))

    def build(method: Method) -> pv.VAE:
        name, options = Cell("x", family, config, method).recipe(spec, (4, 8))
        return named(name)(spec, seed=0, **options).model

    def shapes(module: torch.nn.Module) -> list[tuple[int, ...]]:
        return [tuple(p.shape) for p in module.parameters()]

    base = build(Method())
    for method in methods()[1:]:
        model = build(method)
        assert shapes(model.posterior) == shapes(base.posterior)
        wider = next(head for head in model.heads.values() if "m" in head.likelihood.given)  # pyright: ignore
        if method.kind == "two":
            assert shapes(model.heads["x"]) == shapes(base.heads["x"])
        pairs = list(zip(shapes(wider), shapes(base.heads["x"]), strict=True))
        unequal = [(mine, theirs) for mine, theirs in pairs if mine != theirs]
        assert len(unequal) == 1
        (mine, theirs) = unequal[0]
        assert mine[0] == theirs[0]
        assert mine[1] == theirs[1] + 2 * 256


@pytest.mark.parametrize("family", ["gaussian", "vq"])
def test_multiscale_decoders_are_those_of_all_methods_and_what_does_not_see_m_is_the_baseline(family: str) -> None:
    spec = pv.Spec((1, 16, 16))
    base, *others = [
        named(name)(spec, seed=0, **options).model
        for name, options in (
            Cell("x", family, 1, method).recipe(spec, (4, 8), "multiscale")
            for method in (Method(), Method("two", "grid"), Method("one", "uniform", exponent=20))
        )
    ]
    alone = [tuple(p.shape) for p in base.heads["x"].parameters()]
    for model in others:
        seeing = next(head for head in model.heads.values() if "m" in head.likelihood.given)  # pyright: ignore
        assert any(isinstance(module, MultiscaleDecoder) for module in seeing.modules())
        assert [p.shape for p in model.posterior.parameters()] == [p.shape for p in base.posterior.parameters()]
    assert [tuple(p.shape) for p in others[0].heads["x"].parameters()] == alone


def test_masks_of_the_methods_see_what_their_names_say() -> None:
    torch.manual_seed(0)
    x = torch.rand(500, 1, 28, 28)

    def counts(method: Method) -> torch.Tensor:
        name, options = Cell("mnist", "gaussian", 1, method).recipe(MNIST, (4,))
        return named(name)(MNIST, **options).observe({"x": x})["m"][:, -1].flatten(1).sum(1)

    assert grid_points(MNIST) == 16
    assert grid_points(pv.Spec((3, 64, 64))) == 100
    assert (counts(Method("two", "grid")) == 16).all()
    assert (counts(Method("two", "uniform")) == 39).all()
    means = [counts(Method("one", "uniform", exponent=a)).mean() for a in (20, 30, 40, 50, 60)]
    assert means == sorted(means, reverse=True)
    assert means[0] > 2 * means[-1]


def test_softadapt_is_on_where_the_name_says_so() -> None:
    found = {}
    for soft in (False, True):
        name, options = Cell("mnist", "gaussian", 1, Method("two", "grid", soft)).recipe(MNIST, (4,))
        found[soft] = getattr(named(name)(MNIST, **options).objective, "balance", None)
    assert found[False] is None
    assert found[True] is not None


def test_cells_are_chosen_by_pattern_and_by_regular_expression() -> None:
    grid = cells(["mnist"], ["gaussian"], [1])
    assert len(select(grid, None)) == 15
    assert [cell.method.name for cell in select(grid, "*-baseline, *two-grid")] == ["baseline", "two-grid"]
    assert len(select(grid, "/one-(gaussian|uniform)-[26]0$/")) == 4
    with pytest.raises(ValueError, match=r"no cell matches '\*three\*'; the 15 names are like mnist-gaussian-1-base"):
        select(grid, "*three*")
    with pytest.raises(ValueError, match="is no regular expression"):
        select(grid, "/(/")


def test_families_and_configurations_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="family is one of gaussian, vq; got 'gauss'; did you mean gaussian"):
        cells(["mnist"], ["gauss"])
    with pytest.raises(ValueError, match="config is of gaussian one of 1, 2; got 3"):
        cells(["mnist"], ["gaussian"], [3])
    assert {cell.family for cell in cells(["mnist"], None, [3])} == {"vq"}


@pytest.mark.parametrize(
    ("text", "expected"), [("5", (0, 1, 2, 3, 4)), ("2", (0, 1)), ("0,2", (0, 2)), ("4,", (4,)), ([1, 1, 3], (1, 3))]
)
def test_folds_are_a_number_or_a_list(text: str | list[int], expected: tuple[int, ...]) -> None:
    assert chosen_folds(text) == expected


@pytest.mark.parametrize("text", ["0", "6", "0,5", "-1,", "one", ",", "1.5", []])
def test_folds_out_of_range_are_refused(text: str | list[int]) -> None:
    assert FOLDS == 5
    with pytest.raises(ValueError, match="folds"):
        chosen_folds(text)
