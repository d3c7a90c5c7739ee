"""The report of a study: its numbers, its Markdown, and a page that stands for itself."""

from __future__ import annotations

import base64
import math
import re
import shutil
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.study_runs import fake_result, fake_row
from polyvae.evaluation.numbers import number, plus_minus
from polyvae.study import Interval, Protocol, Records, Report, StudyError, Table, cells, report
from polyvae.study.document import TextTable, code, heading, image, markdown, plain
from polyvae.study.page import page
from polyvae.study.records import open_study
from polyvae.study.thesis.provenance import command
from polyvae.study.thesis.sections import expected, observed, results
from polyvae.study.thesis.table import bounds, percent

PROTOCOL = asdict(Protocol(limit=500, epochs=3))
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of a made-up study of MNIST, both families, three folds."""
    folder = tmp_path_factory.mktemp("study") / "study"
    open_study(folder, "multitask", PROTOCOL)
    records = Records()
    for cell in cells(["mnist"], None, [1]):
        for fold in range(3):
            records.add(fake_result(cell, fold))
    records.write(folder)
    (folder / "pictures").mkdir()
    (folder / "pictures" / "mnist-vq-1-two-grid.png").write_bytes(PIXEL)
    (folder / "pictures" / "mnist-vq-1-two-uniform.png").write_bytes(PIXEL)
    return folder


@pytest.fixture(scope="module")
def made(study: Path) -> Report:
    return report(study)


VOID = {"meta", "img", "br", "link", "input", "hr"}


class Checked(HTMLParser):
    """Checks that tags are closed in order, and collects what is inside."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(text: str) -> Checked:
    checked = Checked()
    checked.feed(text)
    checked.close()
    assert checked.open == []
    return checked


def test_the_page_is_valid_and_needs_nothing_beside_it(made: Report) -> None:
    text = made.page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    found = parsed(text).found
    tags = {tag for tag, _ in found}
    assert not tags & {"script", "link", "iframe", "object", "a", "base"}
    addresses = [values[name] for _, values in found for name in ("src", "href", "srcset") if name in values]
    assert addresses
    assert all(address is not None and address.startswith("data:image/png;base64,") for address in addresses)
    assert not re.search(r"https?:|@import|url\(", text)
    for address in addresses:
        assert base64.b64decode(str(address).partition(",")[2]).startswith(b"\x89PNG")
    assert all(values.get("alt") for tag, values in found if tag == "img")


def test_the_page_suits_phones_printers_and_the_dark(made: Report) -> None:
    text = made.page.read_text(encoding="utf-8")
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    for rule in ("@media print", "prefers-color-scheme: dark", "overflow-x: auto", "max-width: 100%"):
        assert rule in text


def test_text_of_a_page_is_escaped() -> None:
    blocks = [heading("<b>", 1), plain("a < b & c"), code("<i>"), TextTable(("<x>",), (("<y>",),), "<z>")]
    checked = parsed(page(markdown(blocks), Path()))
    assert not {tag for tag, _ in checked.found} & {"b", "i", "x", "y", "z"}
    assert {"<b>", "a < b & c", "<i>", "<x>", "<y>", "<z>"} <= set(checked.text)


@example("[a](b)")
@example("&lt; &amp;")
@given(st.text("ab1 *_`[]()<>&;|\\!#\"'", min_size=1).map(str.strip).filter(bool))
def test_no_text_is_taken_for_markdown(text: str) -> None:
    blocks = [heading("a " + text + " b", 1), plain("a " + text + " b"), TextTable((text,), ((text + " b",),), text)]
    shown = " ".join("".join(parsed(page(markdown(blocks), Path())).text).split())
    words = " ".join(text.split())
    assert shown.endswith(f"a {words} b a {words} b {words} {words} {words} b")


def test_both_forms_say_the_same(made: Report) -> None:
    text = " ".join(parsed(made.page.read_text(encoding="utf-8")).text)
    lines = made.markdown.read_text(encoding="utf-8").splitlines()
    cells = [cell.strip() for line in lines if line.startswith("| ") for cell in line.strip("|").split("|")]
    shown = [cell for cell in cells if not set(cell) <= set("-: ")]
    assert len(shown) > 500
    for cell in shown:
        assert cell.replace("\\", "").replace("&lt;", "<") in text


def test_pictures_of_the_markdown_lie_beside_it(made: Report) -> None:
    text = made.markdown.read_text(encoding="utf-8")
    paths = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert "figures/curves-mnist-gaussian-1.png" in paths
    assert "figures/exponents-mnist-vq-1.png" in paths
    assert "figures/masks-mnist-vq-1.png" in paths
    assert "pictures/mnist-vq-1-two-grid.png" in paths
    assert all((made.markdown.parent / path).is_file() for path in paths)


def test_a_report_is_made_again_from_the_tables_alone_to_the_same_bytes(
    study: Path, made: Report, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("study.json", "runs.csv", "curves.csv", "masks.csv"):
        shutil.copy(study / name, copy)
    shutil.copytree(study / "pictures", copy / "pictures")
    again = report(copy)
    assert again.page.read_bytes() == made.page.read_bytes()
    assert again.markdown.read_bytes() == made.markdown.read_bytes()


def test_the_table_holds_ours_beside_the_published(study: Path, made: Report) -> None:
    table = Table(Records.read(study).rows.values())
    _, grid = results(table, table.groups[0])
    assert isinstance(grid, TextTable)
    rows = {row[0]: row for row in grid.rows}
    assert len(rows) == 15
    runs = [fake_row(cells(["mnist"], ["gaussian"], [1])[0], fold) for fold in range(3)]
    mean, sd = np.mean([r["mse"] for r in runs]), np.std([r["mse"] for r in runs], ddof=1)
    assert rows["baseline"][1:6] == ("3", "fp32", "1,080", plus_minus(float(mean), float(sd)), "0.017800 ± 0.000044")
    assert rows["two-uniform"][7] == "18.3 ± 4.5"
    assert rows["one-uniform-20"][5] == "–"
    assert rows["one-uniform-40"][5] == "0.02040 ± 0.00020"
    text = made.markdown.read_text(encoding="utf-8")
    assert "Zakovskis: Multitask variational autoencoders" in text
    assert "polyvae study multitask --data mnist --family gaussian,vq --config 1 --folds 0,1,2 --limit 500" in text


def test_command_of_a_single_fold_is_one_that_is_read_as_a_list() -> None:
    table = Table([fake_row(cells(["mnist"], ["vq"], [3])[0], 4)])
    assert command(table, {**PROTOCOL, "widths": [4, 8], "epochs": 100, "limit": None}) == (
        "polyvae study multitask --data mnist --family vq --config 3 --folds 4, --only '*-baseline' --widths 4,8"
    )
    assert command(table, {**PROTOCOL, "decoder": "multiscale"}).endswith("--decoder multiscale")


def test_expected_counts_are_those_of_the_law() -> None:
    """E floor(N (1 - u^(1/a))) by integration over u, and by its approximation N / (a + 1) - 1/2."""
    u = (np.arange(2_000_000) + 0.5) / 2_000_000
    for exponent in (20, 60):
        assert expected(784, exponent) == pytest.approx(np.floor(784 * (1 - u ** (1 / exponent))).mean(), rel=1e-4)
        assert expected(784, exponent) == pytest.approx(784 / (exponent + 1) - 0.5, abs=0.03)


def test_counts_of_exponents_20_and_60_are_compared_with_their_noise() -> None:
    rows = [fake_row(cell, fold) for cell in cells(["mnist"], ["vq"], [1]) for fold in range(2)]
    words = [block for block in observed(Table(rows)) if isinstance(block, str)]
    assert len(words) == 2
    assert "exponent 20 shows 36.83 pixels and exponent 60 12.35" in words[0]
    assert "beyond noise" in words[0]
    for row in rows:
        if row["exponent"] is not None:
            row["observed"] = 20.0 + 1e-4 * row["exponent"]
    assert all("within noise" in block for block in observed(Table(rows)) if isinstance(block, str))


def test_errors_by_mask_size_are_judged(made: Report) -> None:
    text = made.markdown.read_text(encoding="utf-8")
    part = text[text.index("## Error by mask size") : text.index("## Pixels seen")]
    lines = [line for line in part.splitlines() if line.startswith("| two-grid |")]
    assert len(lines) == 2
    assert all(line.endswith("| holds | holds |") for line in lines)


def test_a_report_says_what_it_found(made: Report) -> None:
    assert made.runs == 90
    assert made.text().splitlines()[1].startswith("holds      (a) Gaussian, two decoders")
    found = made.as_dict()
    assert {each["claim"] for each in found["claims"]} == set("abcdefg")
    assert all(math.isfinite(part["low"]) for each in found["claims"] for part in each["parts"])


def test_a_study_of_one_precision_names_it_and_warns_of_nothing(made: Report) -> None:
    text = made.markdown.read_text(encoding="utf-8")
    assert "precision fp32;" in text
    assert "in different precisions" not in text
    assert "against fp32" not in text


@pytest.mark.parametrize("folds", [(0,), (0, 1)])
def test_a_study_of_few_runs_has_a_report_too(folds: tuple[int, ...], tmp_path: Path) -> None:
    open_study(tmp_path / "study", "multitask", PROTOCOL)
    records = Records()
    for cell in cells(["digits"], ["vq"], [2])[:1]:
        for fold in folds:
            records.add(fake_result(cell, fold))
    records.write(tmp_path / "study")
    parsed(report(tmp_path / "study").page.read_text(encoding="utf-8"))


def test_folders_without_a_study_or_a_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"it has no study.json; start one without --report-only"):
        report(tmp_path / "nowhere")
    open_study(tmp_path / "study", "multitask", PROTOCOL)
    with pytest.raises(StudyError, match="holds no run yet"):
        report(tmp_path / "study")


@pytest.mark.parametrize(
    ("mean", "sd", "shown"),
    [
        (0.0178, 0.000347, "0.01780 ± 0.00035"),
        (12.9533, 1.87, "13.0 ± 1.9"),
        (0.0028, 9.4e-5, "0.002800 ± 0.000094"),
        (100.0, 25.0, "100 ± 25"),
        (0.5, math.nan, "0.5000"),
        (0.5, 0.0, "0.5000"),
        (math.nan, 1.0, "–"),
        (2.1e-6, 3.2e-9, "2.10e-06 ± 3.2e-09"),
    ],
)
def test_means_and_deviations_are_written_to_the_deviations_second_figure(mean: float, sd: float, shown: str) -> None:
    assert plus_minus(mean, sd) == shown


def test_numbers_as_they_are_written() -> None:
    assert [number(value) for value in (None, math.nan, 0.0, 12.3456, 123456.0, 0.00012, 1e-7)] == [
        "–",
        "–",
        "0",
        "12.35",
        "123456",
        "0.0001200",
        "1.000e-07",
    ]
    assert number(-0.0) == "0"
    assert percent(-0.0312) == "-3.1 %"
    assert percent(None) == "–"
    assert bounds(Interval(1.0, math.nan, -math.inf, math.inf, 1)) == "–"
    assert bounds(Interval(1.0, 0.1, 0.9, 1.1, 3)) == "[0.900, 1.10]"


def test_markdown_of_every_block() -> None:
    blocks: list[Any] = [
        heading("T", 1),
        plain("a*b"),
        code("x"),
        image("p.png", "shown"),
        TextTable(("a", "b"), (("|", "2"),)),
    ]
    assert markdown(blocks) == (
        "# T\n\na\\*b\n\n```\nx\n```\n\n![shown](p.png)\n\n*shown*\n\n| a | b |\n| --- | ---: |\n| \\| | 2 |\n"
    )
