"""Tables as they are found: gaps, long texts, names of rows, y of measurements, words among numbers, years as names."""

import tracemalloc

import numpy as np
import pandas
import pytest

from polyvae import data
from polyvae.data.columns.table import Feature
from polyvae.data.errors import DataError
from polyvae.data.readers.arrays import table_of
from polyvae.data.readers.csv_parquet import table


def test_one_long_cell_and_one_gap_do_not_widen_the_other_columns(tmp_path):
    path = tmp_path / "wide.csv"
    rows = [f"{row},{row / 8},{'uvw'[row % 3]},{'r' if row % 40 else 's' * 2000}" for row in range(4000)]
    rows[5] = "5,,v,r"
    path.write_text("\n".join(["n,size,town,remark", *rows]))
    tracemalloc.start()
    found = table(path, skip_bad=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 2**20  # a column of the width of its longest cell takes 32 MB
    assert found.features == (
        Feature("n", "int"),
        Feature("size", "float"),
        Feature("town", "text", ("u", "v", "w")),
        Feature("remark", "text", ("r", "s" * 2000)),
    )
    assert found.arrays["x"].shape == (3999, 4)
    assert found.arrays["x"][5].tolist() == [6, 0.75, 0, 0]
    assert found.arrays["x"][39].tolist() == [40, 5, 1, 1]


def test_cells_that_look_like_gaps_or_ends_inside_of_text_are_text(tmp_path):
    path = tmp_path / "quoted.csv"
    path.write_text('a,b,c\n1,"x,,NA,",3\n2,"x\ny, ",\n"NA",u,7\n4,"""q"", nan",5\n' * 1)
    found = table(path, skip_bad=True)
    assert found.arrays["x"].tolist() == [[1, 1, 3], [4, 0, 5]]
    assert found.features[1].labels == ('"q", nan', "x,,NA,")


@pytest.mark.parametrize("gap", ["", "NA"])
def test_gaps_of_columns_that_are_left_out_cost_no_rows(tmp_path, gap):
    """Names of rows, and an index of dates, text and numbers."""
    rows = 200
    index = [f"{row}" if row % 3 else f"r{row}" for row in range(rows)]
    names = [gap if row < 90 else f"n{row}" for row in range(rows)]
    path = tmp_path / "names.csv"
    path.write_text(
        "\n".join(
            [",name,a,b", *(f"{i},{n},{row},{row / 8}" for row, (i, n) in enumerate(zip(index, names, strict=True)))]
        )
    )
    frame = pandas.DataFrame(
        {"name": [None if name == gap else name for name in names], "a": range(rows), "b": np.arange(rows) / 8}
    )
    frame.to_parquet(tmp_path / "names.parquet")
    frame["Unnamed: 0"] = [int(name) if name.isdigit() else name for name in index]
    for given in (path, tmp_path / "names.parquet", frame):
        for skip in (True, False):
            with pytest.warns(data.DataNote) as notes:
                loaded = data.load(given, skip_bad=skip)
            assert sum(len(part) for part in (loaded.train, loaded.validation, loaded.test)) == rows
            assert [column.name for column in loaded.spec.columns] == ["a", "b"]
            assert any("the column 'name' holds 110 different texts in 110 rows" in str(note.message) for note in notes)


def test_a_text_is_a_category_with_five_rows_to_a_value(tmp_path):
    path = tmp_path / "days.csv"
    for values, kept in ((40, True), (41, False)):
        path.write_text("day,a\n" + "".join(f"d{row % values},{row}\n" for row in range(204)))
        assert ([feature.name for feature in table(path).features] == ["day", "a"]) is kept


def test_a_column_y_of_measurements_is_a_feature(tmp_path):
    path = tmp_path / "points.csv"

    def read(y, label=None):
        path.write_text("x,y\n" + "".join(f"{row / 4},{value}\n" for row, value in enumerate(y)))
        frame = pandas.read_csv(path)
        found = table(path, label)
        assert [feature.name for feature in table_of(frame, str(path), label).features] == [
            feature.name for feature in found.features
        ]
        return found.label, found.notes

    said = f"{path}: the column 'y' holds {{}} and is a feature, not the label"
    assert read([0.5, 1, 2]) == (None, (said.format("fractional numbers"),))
    several = "{} different numbers in {} rows (--label y, in Python label='y', takes it for classes)"
    assert read(range(75)) == (None, (said.format(several.format(75, 75)),))
    assert read([0, 1, 2] * 5) == ("y", ())
    assert read([0, 1, 2] * 4)[0] is None  # fewer than five rows to a number
    assert read([*range(20)] * 5) == ("y", ())
    assert read([*range(21)] * 9)[0] is None
    assert read(["u", "v", "w"]) == ("y", ())
    assert read([True, False, True]) == ("y", ())
    assert read(range(75), "y") == ("y", ())


def test_later_parts_take_labels_and_categories_from_the_first():
    """A few rows alone would say otherwise of both."""
    train = pandas.DataFrame({"a": np.arange(200.0), "town": [f"t{row % 30}" for row in range(200)], "y": [0, 1] * 100})
    found = data.wrap(train, validation=train[:22].copy())
    assert (found.spec.label, len(found.spec.columns), len(found.spec.columns[1].labels)) == ("y", 2, 30)
    assert data.wrap(train, validation=train[:4].copy()).validation.tensors["y"].tolist() == [0, 1, 0, 1]
    with pytest.warns(data.DataNote, match="'y' holds 21 different"):
        found = data.wrap(train.assign(y=[*[7] * 179, *range(21)]), validation=train[:50].copy())
    assert (found.spec.label, len(found.spec.columns)) == (None, 3)


def test_few_whole_numbers_and_words_in_one_column_are_categories(tmp_path):
    path = tmp_path / "cars.csv"
    path.write_text("drv,hwy\n4,29\nf,31\nr,20\n4,26\n")
    assert table(path).features[0] == Feature("drv", "text", ("4", "f", "r"))
    path.write_text("hwy,drv\n" + "1,4\n" * 1500 + "3,f\n4,\n")
    assert table(path, skip_bad=True).features[1] == Feature("drv", "text", ("4", "f"))
    mixed = {
        "many": "".join(f"{row},1\n" for row in range(20)) + "f,1\n",
        "fraction": "1.5,1\nf,1\n",
        "mark": "1,1\n2,1\n?,1\n",
    }
    for rows in mixed.values():
        path.write_text("drv,hwy\n" + rows)
        with pytest.raises(DataError, match=rf"column 'drv': expected numbers .* in row {rows.count(chr(10))} "):
            table(path)


def test_where_no_row_is_complete_the_columns_to_drop_are_named(tmp_path):
    path = tmp_path / "holes.csv"
    path.write_text("a,b,c\n" + ",1,2\n" * 12 + "1,,\n" * 3 + "1,,2\n")
    with pytest.raises(DataError) as error:
        table(path, skip_bad=True)
    assert "no row is complete" in str(error.value)
    assert "without column 'a' 12 rows are complete" in str(error.value)
    assert "skip_bad" not in str(error.value)
    path.write_text("a,b,c\n" + ",,2\n" * 12 + "1,,\n" * 3 + ",3,4\n")
    with pytest.raises(
        DataError,
        match=r"drop columns: without column 'a' 1 row is complete; without columns 'a', 'b' 13 rows are complete$",
    ):
        table(path, skip_bad=True)


def test_years_beside_other_names_are_a_header(tmp_path):
    path = tmp_path / "bank.csv"
    path.write_text("Country,1960,1965,1970\nA,1,2,3\nB,4,5,6\n")
    assert [feature.name for feature in table(path).features] == ["Country", "1960", "1965", "1970"]
    for names in ("Country,1960,1965,1971", "Country,1960,1965,x", "Country,1.5,2.5,3.5", "1,5,9,13", "Country,5,5,5"):
        path.write_text(f"{names}\nA,1,2,3\nB,4,5,6\n")
        with pytest.raises(DataError, match="names of columns in the first line, found numbers"):
            table(path)
