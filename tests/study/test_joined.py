"""A study joined of runs of several precisions, commits and folds: what its report says; and the plots of a study."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from helpers.study_runs import fake_result, fake_row
from polyvae.study import Protocol, Records, Table, cells, judge, report
from polyvae.study.document import TextTable
from polyvae.study.records import open_study
from polyvae.study.thesis.figures import figures, look
from polyvae.study.thesis.grid import chosen_folds, methods, select
from polyvae.study.thesis.provenance import chosen, command
from polyvae.study.thesis.sections import results

PROTOCOL = asdict(Protocol(limit=500, epochs=3))


@pytest.fixture(scope="module")
def study() -> Records:
    """The records of a made-up study of MNIST, both families, three folds."""
    records = Records()
    for cell in cells(["mnist"], None, [1]):
        for fold in range(3):
            records.add(fake_result(cell, fold))
    return records


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study joined of several: bf16 in three folds, SoftAdapt and VQ in fp32, another commit and two folds more."""
    folder = tmp_path_factory.mktemp("joined") / "study"
    open_study(folder, "multitask", {**PROTOCOL, "precision": "bf16"})
    records = Records()
    for cell in cells(["mnist"], None, [1]):
        exact = cell.family == "vq" or cell.method.softadapt
        for fold in range(5 if exact else 3):
            result = fake_result(cell, fold)
            result["row"] |= {
                "precision": "fp32" if exact else "bf16",
                "commit": "b" * 12 if exact else "a" * 12,
                "best_epoch": 3 if fold else 2,
            }
            records.add(result)
    records.write(folder)
    return folder


def test_the_report_says_that_its_fold_chose_the_epoch_and_in_how_many_runs_that_mattered(joined: Path) -> None:
    table = Table(Records.read(joined).rows.values())
    words = str(chosen(table))
    assert "The fold that is reported on is also the one that chose the epoch" in words
    # Of 13 cells with three folds and 17 with five, all but fold 0 chose the last of three epochs.
    assert f"In {13 * 2 + 17 * 4} of {13 * 3 + 17 * 5} runs the best epoch was the last one" in words
    assert "mnist, gaussian, configuration 1: 34 of 49" in words
    made = report(joined)
    for path in (made.markdown, made.page):
        assert words in path.read_text(encoding="utf-8")


def test_a_study_of_several_precisions_says_what_it_compares(joined: Path) -> None:
    made = report(joined)
    text = made.markdown.read_text(encoding="utf-8")
    assert "precision bf16 (39 runs), fp32 (85 runs)" in text
    assert f"commit {'a' * 12} (39 runs), {'b' * 12} (85 runs)" in text
    assert "Cells have 3 to 5 folds" in text
    table = Table(Records.read(joined).rows.values())
    _, grid = results(table, table.groups[0])
    assert isinstance(grid, TextTable)
    assert {row[0]: row[1:3] for row in grid.rows}["two-grid"] == ("3", "bf16")
    assert {row[0]: row[1:3] for row in grid.rows}["two-grid-softadapt"] == ("5", "fp32")
    parts = {part.text: part for judged in made.judged for part in judged.parts}
    found = {text: (part.found.count, part.precisions.text, part.precisions.mixed) for text, part in parts.items()}
    assert found["squared error falls, two-grid, two-uniform against the baseline"] == (3, "bf16", False)
    assert found["squared error falls, two-grid-softadapt, two-uniform-softadapt against the baseline"] == (
        5,
        "fp32",
        False,
    )
    assert found["Gaussian: squared error with m is less than without, two decoders"][1:] == ("bf16 and fp32", False)
    assert found["the fall as a share is larger for Gaussian than for VQ"] == (3, "bf16 and fp32 against fp32", True)
    assert "(f) of mnist, configuration 1 (bf16 and fp32 against fp32)" in text
    assert "| two-grid-softadapt | 3 | fp32 against bf16 |" in text
    line = next(line for line in made.text().splitlines() if "(f)" in line)
    assert line.endswith("[mnist, configuration 1; bf16 and fp32 against fp32]")
    (claim,) = [each for each in made.as_dict()["claims"] if each["claim"] == "f"]
    assert [part["mixed"] for part in claim["parts"]] == [False, False, True]


def test_commands_of_a_joined_study_make_its_runs(joined: Path) -> None:
    """Each line, read as the command reads it, makes its share of the runs, none twice."""
    table = Table(Records.read(joined).rows.values())
    lines = command(table, {**PROTOCOL, "precision": "bf16"}).splitlines()
    made = set()
    for line in lines:
        words = shlex.split(line)
        given = dict(zip(words[3::2], words[4::2], strict=True))
        precision = given.get("--precision", "fp32")
        configs = [int(config) for config in given["--config"].split(",")]
        grid = cells(given["--data"].split(","), given["--family"].split(","), configs)
        for cell in select(grid, given.get("--only")):
            runs = {(cell.name, fold, precision) for fold in chosen_folds(given["--folds"])}
            assert not runs & made
            made |= runs
    assert made == {(row["cell"], row["fold"], row["precision"]) for row in table.rows}
    assert "--precision bf16" in lines[0]


def test_slopes_are_judged_on_the_folds_that_every_exponent_has() -> None:
    """A fold with two exponents alone would be a slope of other methods."""
    rows = [fake_row(cell, fold) for cell in cells(["mnist"], ["gaussian"], [1]) for fold in range(4)]
    rows = [row for row in rows if row["fold"] < 3 or row["exponent"] in (20, 30)]
    (judged,) = [each for each in judge(Table(rows)) if each.claim == "e"]
    assert [part.found.count for part in judged.parts] == [3, 3]


def test_looks_of_methods_differ_in_more_than_colour() -> None:
    names = [method.name for method in methods() if not method.name.endswith(("30", "50"))]
    looks = {name: look(name) for name in names}
    assert len({(found["marker"], found["linestyle"]) for found in looks.values()}) == len(names)


def test_plots_of_a_study_have_labels_plain_ticks_and_no_empty_panel(study: Records) -> None:
    records = study
    made = figures(Table(records.rows.values()), records)
    assert len(made) == 6
    for name, (figure, words) in made.items():
        FigureCanvasAgg(figure).draw()
        assert all(
            axes.has_data() and axes.get_xlabel() and axes.get_ylabel() and axes.get_title() for axes in figure.axes
        )
        ticks = [tick.get_text() for axes in figure.axes for tick in axes.get_yticklabels()]
        assert ticks
        assert not [tick for tick in ticks if "$" in tick or "e" in tick or "10^" in tick]
        assert [text.get_text() for text in figure.legends[0].get_texts()]
        if name.startswith("masks"):
            assert figure.axes[1].get_title() == "one decoder, exponents 20, 40, 60 of 20, 30, 40, 50, 60"
        if name.startswith("curves"):
            assert "a star at the median best epoch" in words
            stars = [line for line in figure.axes[0].get_lines() if line.get_marker() == "*"]
            assert [list(line.get_xdata()) for line in stars] == [[2]] * 7


def test_a_study_of_two_decoders_alone_has_no_panel_of_one(study: Records) -> None:
    records = study
    rows = [row for row in records.rows.values() if not row["method"].startswith("one")]
    figure, _ = figures(Table(rows), records)["masks-mnist-vq-1"]
    assert [axes.get_title() for axes in figure.axes] == ["two decoders"]


def test_plots_of_few_exponents_name_those_alone(study: Records) -> None:
    """Of one decoder the curves draw the exponent 40 and the mask sizes 20, 40 and 60, if there are runs of them."""

    def drawn(*exponents: int) -> dict[str, str]:
        rows = [row for row in study.rows.values() if row["family"] == "vq" and row["exponent"] in exponents]
        return {name: words for name, (_, words) in figures(Table(rows), study).items()}

    assert set(drawn(30)) == {"exponents-mnist-vq-1"}
    found = drawn(20, 30)
    assert set(found) == {"exponents-mnist-vq-1", "masks-mnist-vq-1"}
    assert found["masks-mnist-vq-1"].endswith("one decoder: exponents 20 of 20, 30.")
    assert drawn(40, 60)["masks-mnist-vq-1"].endswith("one decoder: exponents 40, 60.")
    assert "of one decoder the exponent 40" in drawn(40)["curves-mnist-vq-1"]


def test_legends_name_the_precision_where_it_differs(joined: Path) -> None:
    records = Records.read(joined)
    made = figures(Table(records.rows.values()), records)
    named = [text.get_text() for text in made["curves-mnist-gaussian-1"][0].legends[0].get_texts()]
    assert {"baseline, bf16", "two-grid-softadapt, fp32"} <= set(named)
    named = [text.get_text() for text in made["curves-mnist-vq-1"][0].legends[0].get_texts()]
    assert "baseline" in named
