"""The example of a flow from a few sensors: end to end and small, and its linear completion, sensors and scores."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

import polyvae as pv
from polyvae.completion.gappy_pca import GappyPCA
from polyvae.data import DataError

EXAMPLES = Path(__file__).parents[2] / "examples"
LAWS = ["gappy PCA", "linear", "normal law", "kriging", "Gaussian process", "regression"]
METHODS = [*LAWS, "SC-VAE", "arbitrary conditioning"]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Modules of the example, imported as `python examples/fields.py` does."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return __import__


@pytest.fixture(scope="module")
def flow() -> torch.Tensor:
    """48 times of a small flow with a solid corner, in no order: as files without times they are cut at random."""
    x = torch.from_numpy(pv.data.load("vortices", limit=48).train.tensors["x"][:, :, ::2, ::2].numpy().copy())
    x[:, :, :3, :4] = 0.0
    return x[torch.randperm(48, generator=torch.Generator().manual_seed(0))]


def test_the_example_writes_its_tables_and_figures(
    example: Callable[[str], ModuleType], flow: torch.Tensor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "mine.npz", **dict(zip("uvp", flow.numpy().swapaxes(0, 1), strict=True)))
    asked = ["--data", str(tmp_path / "mine.npz"), "--quick", "--splits", "2", "--sensors", "2", "3"]
    example("fields").main([*asked, "--out", str(tmp_path / "out")])
    folder = tmp_path / "out" / "mine"
    with (folder / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    known = [(row["split"], row["sensors"], row["noise"], row["method"]) for row in rows]
    assert known == [(s, n, e, m) for s in "01" for n in "23" for e in ("0.0", "0.05") for m in METHODS]
    assert all(math.isfinite(float(row[name])) for row in rows for name in ("error", "crps", "coverage", "factor"))
    assert all(0 <= float(row["coverage"]) <= 1 for row in rows)
    # Means over the two splits stand in the table, of gappy PCA beside itself.
    first = [float(row["error"]) for row in rows if known_of(row) == ("2", "0.0", "gappy PCA")]
    text = (folder / "results.md").read_text()
    assert f"| 2 | 0% | gappy PCA | {sum(first) / 2:.5f} | 1.00 |" in text
    assert text in capsys.readouterr().out
    drawn = {path.name for path in folder.glob("*.png")}
    assert drawn == {"errors.png", "maps_2.png", "maps_3.png", "band_2.png", "band_3.png"}
    strongest = [float(row["error"]) for row in rows if known_of(row) == ("2", "0.0", "Gaussian process")]
    assert f"| 2 | 0% | gappy PCA | {sum(first) / 2:.5f} | 1.00 | {sum(first) / sum(strongest):.2f} |" in text
    # Some methods alone: the others' rows stay, theirs are what they were, and nothing else is drawn.
    before, at = (folder / "results.csv").read_text(), (folder / "maps_2.png").stat().st_mtime_ns
    example("fields").main([*asked, "--out", str(tmp_path / "out"), "--methods", "linear", "Gaussian process"])
    assert (folder / "results.csv").read_text() == before
    assert (folder / "results.md").read_text() == text
    assert (folder / "maps_2.png").stat().st_mtime_ns == at
    # Gone on with: a case that was not begun is drawn as it is run.
    (folder / "maps_2.png").unlink()
    (folder / "maps_3.png").unlink()
    kept = [line for line in before.splitlines() if not line.startswith("0,2,0.05,")]
    (folder / "results.csv").write_text("\n".join(kept) + "\n")
    example("fields").main([*asked, "--out", str(tmp_path / "out"), "--resume"])
    assert (folder / "maps_2.png").exists()
    assert not (folder / "maps_3.png").exists()


def test_methods_alone_need_the_rows_that_they_are_set_beside(
    example: Callable[[str], ModuleType], flow: torch.Tensor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "mine.npz", **dict(zip("uvp", flow.numpy().swapaxes(0, 1), strict=True)))
    with pytest.raises(SystemExit):
        example("fields").main(["--data", str(tmp_path / "mine.npz"), "--out", str(tmp_path), "--methods", "linear"])
    assert "every row is set beside Gaussian process and gappy PCA" in capsys.readouterr().err


def test_some_methods_at_some_sensors_leave_the_rows_of_the_others(
    example: Callable[[str], ModuleType], flow: torch.Tensor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "mine.npz", **dict(zip("uvp", flow.numpy().swapaxes(0, 1), strict=True)))
    asked = ["--data", str(tmp_path / "mine.npz"), "--quick", "--noise", "0", "--out", str(tmp_path)]
    both = ["--methods", "gappy PCA", "Gaussian process"]
    main, results = example("fields").main, tmp_path / "mine" / "results.csv"
    main([*asked, *both, "linear", "--sensors", "2", "3"])
    before = results.read_text()
    main([*asked, *both, "--sensors", "2"])
    assert results.read_text() == before
    assert "| 3 | 0% | linear |" in (tmp_path / "mine" / "results.md").read_text()
    with pytest.raises(SystemExit):
        main([*asked, "--methods", "linear", "--sensors", "4"])
    assert "results.csv has none of split 0, 4 sensors, noise 0" in capsys.readouterr().err
    assert results.read_text() == before
    # Gone on with: nothing is run again, and what is lacking is added.
    capsys.readouterr()
    main([*asked, *both, "linear", "--sensors", "2", "3", "--resume"])
    assert "sensors, noise 0%, " not in capsys.readouterr().out
    assert results.read_text() == before
    results.write_text("\n".join(line for line in before.splitlines() if not line.startswith("0,3,0.0,linear")) + "\n")
    main([*asked, *both, "linear", "--sensors", "2", "3", "--resume"])
    assert capsys.readouterr().out.count("sensors, noise 0%, ") == 1
    assert results.read_text() == before


def test_gaussian_processes_tell_a_smooth_function_and_what_cannot_be_told(
    example: Callable[[str], ModuleType],
) -> None:
    """Without a warning: a curve within a thousandth, noise at its own deviation, a plane, each the same every time."""
    processes = example("fields_gaussian").Processes
    generator = np.random.default_rng(0)
    phase = generator.uniform(0, 2 * np.pi, 120)
    inputs = np.stack([np.cos(phase), np.sin(phase)], 1)
    noise = generator.normal(size=120)
    targets = np.stack([np.sin(3 * phase), np.cos(3 * phase), noise, 0.5 * inputs[:, 0] - inputs[:, 1]], 1)
    fitted = processes.fit(inputs[:80], targets[:80], 1)
    mean, std = fitted(inputs[80:])
    assert np.abs(mean[:, :2] - targets[80:, :2]).max() < 1e-3
    assert np.abs(mean[:, 3] - targets[80:, 3]).max() < 1e-3
    assert std[:, 2].mean() == pytest.approx(noise[:80].std(), rel=0.15)
    assert std[:, :2].max() < 1e-2
    again = processes.fit(inputs[:80], targets[:80], 1)(inputs[80:])
    assert all((one == other).all() for one, other in zip((mean, std), again, strict=True))
    together = processes.fit(inputs[:80], targets[:80, :2], 2)(inputs[80:])[0]
    assert np.abs(together - targets[80:, :2]).max() < 1e-3


def test_hyperparameters_come_from_a_part_of_many_examples_and_the_law_from_all(
    example: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = example("fields_gaussian")
    monkeypatch.setattr(module, "SEARCHED", 20)
    inputs = np.linspace(0, 6, 60)[:, None]
    fitted = module.Processes.fit(inputs, np.sin(inputs), 1)
    assert len(fitted.parts[0].X_train_) == 60
    assert np.abs(fitted(inputs + 0.03)[0] - np.sin(inputs + 0.03)).max() < 1e-3


def known_of(row: dict[str, str]) -> tuple[str, str, str]:
    return row["sensors"], row["noise"], row["method"]


def test_without_the_wake_the_example_takes_the_vortices_and_says_so(
    example: Callable[[str], ModuleType],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POLYVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("POLYVAE_DATA", str(tmp_path / "data"))
    fields = example("fields")
    assert fields.load("cylinder_flow", 0, 20).name == "vortices"
    assert "Taking the vortices instead." in capsys.readouterr().out
    with pytest.raises(DataError):
        fields.load(str(tmp_path / "none.npz"), 0, None)


def test_the_linear_completion_is_the_conditional_mean_of_a_normal_field(
    example: Callable[[str], ModuleType],
) -> None:
    """E(x | s) = mean + C_xs (C_ss + r I)^-1 (s - mean_s) with the covariance C = A' A of the scaled axes."""
    networks = example("fields_linear")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 6, generator=generator, dtype=torch.float64) @ torch.randn(6, 30, generator=generator).double()
    x = x.view(40, 2, 3, 5)
    basis = GappyPCA(6).fit(x)
    sensors = torch.tensor([0, 7, 11])
    found = networks.linear_completion(basis, x, x[:10] + 0.1, sensors, 0.3)
    centred = (x - x.mean(0)).flatten(1)
    covariance = centred.T @ centred / len(x)
    seen = torch.cat([sensors, 15 + sensors])
    told = centred[:, seen]

    def expected(ridge: float) -> torch.Tensor:
        inside = covariance[seen][:, seen] + ridge * torch.eye(6).double()
        return x.mean(0) + (told @ torch.linalg.solve(inside, covariance[seen])).view_as(x)

    assert any(torch.allclose(found.complete(x), expected(ridge), atol=1e-6) for ridge in networks.RIDGES)


def test_untrained_the_networks_are_as_good_as_the_linear_completion_whatever_the_fields_units(
    example: Callable[[str], ModuleType], flow: torch.Tensor, tmp_path: Path
) -> None:
    np.savez(tmp_path / "mine.npz", **dict(zip("uvp", 50 + 1000 * flow.numpy().swapaxes(0, 1), strict=True)))
    scores, methods = example("fields_scores"), example("fields_methods")
    field = scores.Field.of(pv.data.load(tmp_path / "mine.npz", seed=0))
    trial, case = scores.Trial.of(field, 3, 0.0), methods.Case(8, (8,))
    recipe = pv.recipes.semi_conditional(field.data.spec, **methods._options(trial, case))
    x = field.x("test")
    recipe.start(recipe.observe({"x": field.x("train")}))
    found = pv.complete(recipe, x, trial.mask, draws=2, quantiles=(), keep=0)
    linear = methods.linear(trial, case)["test"][0]
    assert (found.mean - x).square().mean() < 1.2 * (linear - x).square().mean()


def test_sensors_stand_in_the_fluid_apart_and_the_first_where_most_varies(
    example: Callable[[str], ModuleType], flow: torch.Tensor
) -> None:
    scores = example("fields_scores")
    part = pv.data.Split({"x": flow})
    data = pv.data.Data("flow", part, part, part, pv.Spec((3, 16, 32)))
    field = scores.Field.of(data)
    assert not field.fluid[:3, :4].any()
    inside = field.x("train")[:, :, field.fluid]
    assert inside.mean((0, 2)).abs().max() < 1e-4
    assert (inside.std((0, 2)) - 1).abs().max() < 1e-4
    places = [tuple(place) for place in field.sensors(6).tolist()]
    assert len(set(places)) == 6
    assert all(field.fluid[place] for place in places)
    assert field.sensors(6)[:, 1].diff().ge(0).all()
    one = tuple(field.sensors(1)[0].tolist())
    axes = field.basis.axes[:3]
    kept = (field.x("train").double() - field.basis.mean.view(3, 16, 32)).flatten(1) @ axes.T
    energy = (kept @ axes).view(-1, 3, 16, 32).square().sum((0, 1))
    energy[~field.fluid] = 0.0
    assert energy[one] == pytest.approx(float(energy.max()), rel=0.05)


def test_scores_of_a_law_that_is_right_and_of_the_usual_field(example: Callable[[str], ModuleType]) -> None:
    """Errors of standard deviation 0.3 about a known mean: CRPS 0.3 / sqrt(pi), bands of 1.96; the mean scores 1."""
    scores = example("fields_scores")
    generator = torch.Generator().manual_seed(0)
    truth = {part: torch.randn(400, 1, 8, 13, generator=generator) for part in ("train", "validation", "test")}
    field = SimpleNamespace(fluid=torch.ones(8, 13, dtype=torch.bool), x=truth.__getitem__)
    trial = SimpleNamespace(field=field, truth=truth)
    stated = {
        part: (x + 0.3 * torch.randn(x.shape, generator=generator), torch.full_like(x, 0.1))
        for part, x in truth.items()
    }
    found = scores.score(trial, stated)
    assert found.error == pytest.approx(0.3, rel=0.02)
    assert found.crps == pytest.approx(0.3 / math.sqrt(math.pi), rel=0.03)
    assert found.coverage == pytest.approx(0.95, abs=0.01)
    assert found.factor == pytest.approx(1.96 * 3, rel=0.06)
    usual = {part: truth["train"].mean(0).expand_as(x) for part, x in truth.items()}
    assert scores.score(trial, scores.without_spread(trial, usual)).error == pytest.approx(1.0)
