"""The report of a comparison: the table, published values beside it, notes, plots, the page."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from helpers.comparisons import row
from helpers.runs import pictures, small
from polyvae.study import Budget, Networks, Scoring, StudyError, report
from polyvae.study.compare.figures import figures
from polyvae.study.compare.published import PUBLISHED, published
from polyvae.study.compare.study import NAME, tables
from polyvae.study.compare.table import lines
from polyvae.study.records import open_study
from polyvae.study.trained import sizes
from polyvae.study.variants import variants

PROTOCOL = {"data": "mnist", **asdict(Budget()), **asdict(Networks()), **asdict(Scoring())}
PROTOCOL = {name: value for name, value in PROTOCOL.items() if name != "seeds"}
NO_BOUND = {"bound": None, "nll": None, "nll_error": None, "note": "no bound: a posterior is a point"}
DENSITY = {"discrete": "no", "bound": 900.0, "nll": -905.0, "options": '{"latent": 50}', "parameters": 0}


def options(**own: Any) -> str:
    return json.dumps({"latent": 50, "network": "mlp-tanh", "widths": [200, 200], **own})


def made() -> list[dict[str, Any]]:
    """Rows of seven recipes, three seeds of most."""
    found = [row("vae", seed) for seed in range(3)]
    found += [row("factor_vae", 0, objective_parameters=134_145, nll=100.0)]
    found += [row("iwae:samples=5", seed, options=options(samples=5), nll=85.9 + seed / 10) for seed in range(3)]
    found += [row("vamp", seed, recipe="vamp_prior", nll=85.0 + seed / 10) for seed in range(3)]
    found += [row("two_level", 0, options=options(top=50), frechet_fitted=None, nll=86.5)]
    found += [row("ae", seed, recipe="ae", **NO_BOUND) for seed in range(2)]
    found += [row("cvae", 0, given="y", bound=-80.0, nll=77.0)]
    found += [row("ppca", 0, **DENSITY, step_seconds=None, memory_mb=None)]
    return [*found, row("beta_vae:beta=0.5", 0, workers=2, nll=95.0, bound=-102.0)]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    open_study(tmp_path, NAME, PROTOCOL)
    held = tables()
    for each in made():
        held.add({"row": each, "curve": [{"epoch": 1, "loss": 1.0, "bound": -1.0}]})
    held.write(tmp_path)
    return tmp_path


def cells(text: str, label: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {label} |"))
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_a_table_of_means_with_what_their_spread_is(study: Path) -> None:
    """trap 31: the number behind the sign is named, and is a standard deviation over seeds."""
    found = report(study)
    text = found.markdown.read_text()
    table = text.partition("## The table")[2].partition("##")[0]
    assert "Mean ± standard deviation over seeds" in table
    assert cells(table, "vamp")[:2] == ["vamp", "3"]
    assert cells(table, "vamp")[3] == "85.10 ± 0.10"
    assert cells(table, "two_level")[3] == "86.500"  # of a single seed there is no deviation
    assert [each.label for each in found.lines][:3] == ["vamp", "iwae:samples=5", "two_level"]
    assert "Recipes have 1 to 3 seeds" in table
    assert json.loads(json.dumps(found.as_dict()))["runs"] == len(made())
    assert len(found.text().splitlines()) == 1 + 9


def test_what_has_no_bound_or_another_kind_shows_dashes_with_a_note(study: Path) -> None:
    text = report(study).markdown.read_text()
    assert cells(text, "ae")[2:5] == ["–", "–", "–"]
    assert cells(text, "cvae")[2:4] == ["–", "–"]
    assert cells(text, "ppca")[2:4] == ["–", "–"]
    assert cells(text, "ppca")[9:] == ["–", "–", "–"]
    assert cells(text, "two_level")[7] == "–"
    for words in (
        "ae: no bound",
        "ppca: the likelihood is a density",
        "two_level: no prior is fitted",
        "cvae: the bound is on log p(x \\| more)",
        "ppca: takes none of the study's networks",
        "seconds a step are indicative",
    ):
        assert words in text


def test_parameters_are_the_models_and_behind_them_the_objectives(study: Path) -> None:
    text = report(study).markdown.read_text()
    assert cells(text, "factor_vae")[9] == "425,284 + 134,145"
    assert cells(text, "vae")[9] == "425,284"
    assert "parameters: of the model; behind the plus what training alone needs, such as a critic" in text
    assert "best plain bound on the validation part (the tighter bound where one is trained, the rec" in text
    made = small("factor_vae", pictures())
    found = sizes(made)
    assert found["parameters"] == sizes(small("vae", pictures()))["parameters"]
    assert sum(found.values()) == sum(p.numel() for p in (*made.model.parameters(), *made.objective.parameters()))
    assert sizes(small("rae", pictures(), penalty="gradient"))["objective_parameters"] == 0


def test_published_values_stand_beside_the_recipe_they_are_of(study: Path) -> None:
    text = report(study).markdown.read_text()
    assert [cells(text, label)[4] for label in ("vae", "iwae:samples=5", "vamp")] == [
        "86.76", "85.54", "82.43",
    ]  # fmt: skip
    sources = text.partition("## Published values")[2]
    assert "Burda, Grosse, Salakhutdinov" in sources
    assert "gated 300-300" in sources


@pytest.mark.parametrize(
    ("recipe", "own", "nll"),
    [
        ("vae", {}, 86.76),
        ("vae", {"prior": "mixture"}, None),
        ("iwae", {}, 85.54),  # its default
        ("iwae", {"samples": 50}, 84.78),
        ("iwae", {"samples": 7}, None),
        ("iwae", {"samples": 5, "posterior": "full"}, None),
        ("vamp_prior", {"components": 100}, 82.43),
        ("two_level", {"latent": 100, "top": 50}, 85.33),
        ("mmd_vae", {}, None),
    ],
)
def test_a_published_value_is_of_these_options_alone(recipe: str, own: dict[str, Any], nll: float | None) -> None:
    found = published(row("x", recipe=recipe, options=options(**own)), PROTOCOL)
    assert (None if found is None else found.nll) == nll
    assert published(row("x", recipe=recipe, options=options(**own)), {**PROTOCOL, "binarise": "fixed"}) is None
    assert published(row("x", recipe=recipe, options=options(**own), dataset="kmnist"), PROTOCOL) is None


def test_every_published_value_has_a_set_up_and_a_source() -> None:
    assert all(each.setup and "20" in each.source and each.nll > 0 for each in PUBLISHED)


def test_the_command_of_a_report_says_the_study_again(study: Path) -> None:
    text = report(study).markdown.read_text()
    words = shlex.split(text.partition("```\n")[2].partition("\n```")[0])
    assert words[:3] == ["polyvae", "study", "compare"]
    said = variants(words[words.index("--recipes") + 1])
    assert {each.label: dict(each.options) for each in said} == {
        "vae": {}, "iwae:samples=5": {"samples": 5}, "vamp": {}, "two_level": {"top": 50}, "ae": {}, "ppca": {},
        "cvae": {}, "beta_vae:beta=0.5": {}, "factor_vae": {},
    }  # fmt: skip


def test_plots_have_names_and_the_page_holds_them(study: Path) -> None:
    found = report(study)
    page = found.page.read_text()
    drawn = figures(found.lines, 2.0)
    assert set(drawn) == {"likelihood", "pictures"}
    for figure, words in drawn.values():
        (axes,) = figure.axes
        assert axes.has_data()
        assert axes.get_xlabel()
        assert words.endswith(".")
    left = [label.get_text() for label in drawn["likelihood"][0].axes[0].get_yticklabels()]
    assert left == [each.label for each in reversed(found.lines) if each.values("nll")]
    assert page.count("data:image/png") == 2
    HTMLParser().feed(page)
    assert "http" not in page.replace("http-equiv", "")
    assert found.page.read_bytes() == report(study).page.read_bytes()


def test_what_lies_far_from_all_else_is_told_at_the_edge_of_the_plot() -> None:
    rows = [row(f"r{n}", bound=-90.0 - n, frechet=500.0 + n, frechet_fitted=450.0 + n) for n in range(5)]
    rows += [row("far", bound=-150.0, frechet=480.0, frechet_fitted=None)]
    figure, words = figures(lines(rows, PROTOCOL), 20.0)["pictures"]
    (axes,) = figure.axes
    figure.draw_without_rendering()
    (left, right), (low, _) = axes.get_xlim(), axes.get_ylim()
    assert (left > -100, right > -90, low > 300) == (True, True, True)
    assert {text.get_text() for text in axes.texts} == {"\u2190 -150.0", "\u2193 real pictures: 20"}
    assert "a bound far below the others" in words
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[:2] == ["own prior", "mixture fitted afterwards"]
    hollow = [each for each in axes.lines if each.get_markerfacecolor() == "none"]
    assert len(hollow) == 6  # five and that of the legend
    near, words = figures(lines(rows[:5], PROTOCOL), 440.0)["pictures"]
    assert not near.axes[0].texts
    assert "far below" not in words


def test_a_likelihood_far_behind_is_told_at_the_edge_and_none_that_lies_where_others_are_drawn() -> None:
    near = [row(f"r{n}", nll=90.0 + n / 10) for n in range(5)]
    figure, words = figures(lines([*near, row("far", nll=259.85)], PROTOCOL), None)["likelihood"]
    (axes,) = figure.axes
    figure.draw_without_rendering()
    assert axes.get_xlim()[1] < 100
    assert [text.get_text() for text in axes.texts] == ["259.9 \u2192"]
    assert "an arrow to the right" in words
    for rows in (near, near[:1]):  # among the seeds of one that stands together with the rest nothing is far
        spread = [row("wide", seed=seed, nll=90.05 + 3 * seed) for seed in range(2)]
        figure, words = figures(lines([*rows, *spread, row("inside", nll=92.5)], PROTOCOL), None)["likelihood"]
        assert not figure.axes[0].texts
        assert "arrow" not in words
    published = [row("vae", nll=95.0), *(row(f"r{n}", nll=80.0 + n / 10) for n in range(5))]
    figure, words = figures(lines(published, PROTOCOL), None)["likelihood"]
    diamonds = [each for each in figure.axes[0].lines if each.get_marker() == "D"]
    assert bool(diamonds) == ("diamonds" in words)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Budget(seeds=0), "seeds is a whole number of at least 1; got 0"),
        (lambda: Networks(latent=0), "latent is a whole number of at least 1; got 0"),
        (lambda: Scoring(samples=-1), "samples is a whole number of at least 1; got -1"),
    ],
)
def test_numbers_that_no_study_can_have_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_densities_alone_are_shown_and_compare_among_each_other() -> None:
    rows = [row("vae", **{**DENSITY, "options": options()}), row("sigma_vae", **{**DENSITY, "options": options()})]
    assert all(line.comparable and line.values("nll") for line in lines(rows, PROTOCOL))


def test_a_folder_without_a_run_or_of_another_study_is_refused(tmp_path: Path) -> None:
    open_study(tmp_path / "empty", NAME, PROTOCOL)
    with pytest.raises(StudyError, match="holds no run yet"):
        report(tmp_path / "empty")
    open_study(tmp_path / "other", "unheard", PROTOCOL)
    with pytest.raises(StudyError, match="of no study that this version knows: 'unheard'"):
        report(tmp_path / "other")
