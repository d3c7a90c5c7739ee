"""Tables of numbers: csv in its dialects and parquet, labels as numbers or names; every fault named with its place."""

import numpy as np
import pandas
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from helpers import format_files as files
from polyvae import data
from polyvae.data.columns.table import Feature
from polyvae.data.errors import DataError
from polyvae.data.readers.csv_parquet import table


def arrays(path, label=None):
    """x and, where there is one, y."""
    found = table(path, label).arrays
    return found["x"], found.get("y")


def test_csv_gives_numbers_and_numbered_names(tmp_path):
    written = files.csv_table(tmp_path / "a.csv")
    x, y = arrays(tmp_path / "a.csv")
    np.testing.assert_array_equal(x, written["x"])
    np.testing.assert_array_equal(y, written["y"])
    assert (x.dtype, y.dtype) == (np.float32, np.int64)
    written = files.csv_table(tmp_path / "b.csv", labels=())
    x, y = arrays(tmp_path / "b.csv")
    np.testing.assert_array_equal(x, written["x"])
    assert y is None


@pytest.mark.parametrize(
    "text",
    [
        "a,b,class\n1,2,0\n3,4,1\n",
        "a;b;class\n1;2;0\n3;4;1\n",
        "a\tb\tclass\r\n1\t2\t0\r\n3\t4\t1",
        '\ufeff"a","b","Class"\n"1","2","x, first"\n3,4,"y"\n\n',
        "class,a,b\n5,1,2\n7.0,3,4\n",
    ],
    ids=["comma", "semicolon", "tab", "quoted", "first"],
)
def test_csv_in_its_dialects(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8", newline="")
    x, y = arrays(path)
    assert x.tolist() == [[1, 2], [3, 4]]
    assert y.tolist() == [0, 1]


def test_the_column_of_labels_is_chosen_by_name_or_left_among_the_features(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,kind,label\n1,0,5\n2,1,6\n")
    assert arrays(path)[0].tolist() == [[1, 0], [2, 1]]
    x, y = arrays(path, label="kind")
    assert (x.tolist(), y.tolist()) == ([[1, 5], [2, 6]], [0, 1])
    x, y = arrays(path, label="")
    assert (x.shape, y) == ((2, 3), None)


def test_numbered_columns_are_a_header(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("0,1,2\n5,6,7\n")
    assert arrays(path)[0].tolist() == [[5, 6, 7]]


TYPES = "whole,half,truth,colour,label\n1,0.5,True,red,cat\n2,1.0,False,blue,dog\n3,2.0,True,red,cat\n"


def test_every_column_tells_what_it_was_and_text_becomes_categories(tmp_path):
    (tmp_path / "t.csv").write_text(TYPES)
    columns = {"whole": [1, 2, 3], "half": [0.5, 1.0, 2.0], "truth": [True, False, True]}
    text = {"colour": arrow.array(["red", "blue", "red"]).dictionary_encode(), "label": ["cat", "dog", "cat"]}
    parquet.write_table(arrow.table(columns | text), tmp_path / "t.parquet")
    for path in (tmp_path / "t.csv", tmp_path / "t.parquet"):
        found = table(path)
        assert found.features == (
            Feature("whole", "int"),
            Feature("half", "float"),
            Feature("truth", "bool"),
            Feature("colour", "text", ("blue", "red")),
        )
        assert found.arrays["x"].tolist() == [[1, 0.5, 1, 1], [2, 1, 0, 0], [3, 2, 1, 1]]
        assert found.arrays["y"].tolist() == [0, 1, 0]
        assert found.labels == ("cat", "dog")
        assert found.notes == ()


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "Unnamed: 0.1"])
@pytest.mark.parametrize("cells", ["0123", "5555", "wxyz"])
def test_an_index_that_pandas_wrote_is_left_out_and_noted(tmp_path, name, cells):
    path = tmp_path / "table.csv"
    path.write_text("\n".join([f"{name},a,b", *(f"{cell},{row},7" for row, cell in enumerate(cells))]))
    found = table(path)
    assert found.arrays["x"].tolist() == [[0, 7], [1, 7], [2, 7], [3, 7]]
    assert len(found.notes) == 1
    assert f"{path}: the column {name!r} without a name of its own is taken for an index and left out" in found.notes


def test_names_of_rows_from_r_and_of_parquet_are_an_index(tmp_path):
    (tmp_path / "r.csv").write_text('"a","b"\n"first",1,2\n"second",3,4\n')
    parquet.write_table(
        arrow.table({"a": [1, 3], "b": [2, 4], "__index_level_0__": ["u", None]}), tmp_path / "p.parquet"
    )
    for path in (tmp_path / "r.csv", tmp_path / "p.parquet"):
        found = table(path)
        assert found.arrays["x"].tolist() == [[1, 2], [3, 4]]
        assert "left out" in found.notes[0]


def test_text_that_names_the_rows_is_no_category(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("id,few,a\n" + "".join(f"patient {row},{'uvw'[row % 3]},{row}\n" for row in range(40)))
    found = table(path)
    assert [feature.name for feature in found.features] == ["few", "a"]
    assert found.notes == (
        f"{path}: the column 'id' holds 40 different texts in 40 rows, fewer than 5 rows to a text, and is left out",
    )


@pytest.mark.parametrize(
    ("cells", "names"),
    [("01", None), (["0", "1000000"], ("0", "1000000")), (["10", "9"], ("9", "10")), (["-1", "1"], ("-1", "1"))],
)
def test_labels_of_any_number_are_as_many_classes_as_there_are(tmp_path, cells, names):
    path = tmp_path / "table.csv"
    path.write_text(f"a,kind\n1,{cells[0]}\n2,{cells[1]}\n3,{cells[1]}\n")
    found = table(path, "kind")
    assert found.labels == names
    assert sorted(found.arrays["y"].tolist()) in ([0, 1, 1], [0, 0, 1])


@pytest.mark.parametrize("labels", [np.array([3, 1, 3]), ["b", "a", "b"], None])
def test_parquet_gives_what_csv_gives(tmp_path, labels):
    columns = {"a": np.array([1, 2, 3], np.int8), "b": np.array([0.5, -1, 2e3], np.float32), "c": [True, False, True]}
    parquet.write_table(arrow.table(columns | ({} if labels is None else {"label": labels})), tmp_path / "t.parquet")
    x, y = arrays(tmp_path / "t.parquet")
    assert x.tolist() == [[1, 0.5, 1], [2, -1, 0], [3, 2000, 1]]
    assert y is None if labels is None else y.tolist() == [1, 0, 1]


BAD = {
    "empty": ("", "empty table"),
    "header only": ("a,b\n", "empty table"),
    "blank rows": ("a,b\n\n\n", "empty table"),
    "no header": ("1.5,2\n3,4\n", "numbers: 1.5,2"),
    "nan": ("a,b,c\n1,2,NA\n3,nan,NA\n", "found 1 missing in column 'b', 2 missing in column 'c'"),
    "overflow": ("a,b\n1,1e60\n", "1e+60 in row 1, column 'b'"),
    "missing cell": ("a,b\n1,2\n3,\n", "found 1 missing in column 'b'; drop these rows or columns, or fill"),
    "missing text": ("a,b\n1,x\n3,\n", "found 1 missing in column 'b'"),
    "mixed": (
        "a,b\n1,2.5\n3,red\n",
        "column 'b': expected numbers throughout, or text throughout, found 'red' in row 2",
    ),
    "late text": ("a,b\n" + "1,2.5\n" * 1500 + "3,red\n", "column 'b': expected numbers throughout"),
    "late missing": ("a,b\n" + "1,2\n" * 1500 + "3,\n", "found 1 missing in column 'b'"),
    "decimal comma": ("a;b\n1;2,5\n3;4,5\n", "column 'b': expected numbers with a decimal point, found '2,5'"),
    "short row": ("a,b,c\n1,2,3\n4\n", "3 cells in every row, found 1 in row 2"),
    "long row": ("a,b\n1,2\n4,5,6\n", "2 cells in every row, found 3 in row 2"),
    "labels and index": (",label\n0,0\n1,1\n", "at least one column of numbers or categories"),
    "fractional label": ("a,label\n1,0.5\n2,1\n", "fractional"),
    "missing label": ("a,label\n1,x\n2,\n", "1 missing"),
    "labels only": ("label\n0\n1\n", "labels only"),
    "same names": ("a,a\n1,2\n", "['a', 'a']"),
    "binary": (b"\xff\xfe\x00a,\x81", "UnicodeDecodeError"),
}


@pytest.mark.parametrize(("text", "word"), BAD.values(), ids=BAD)
def test_a_bad_csv_is_named(tmp_path, text, word):
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError) as error:
        table(path)
    assert str(path) in str(error.value)
    assert word in str(error.value)


def test_an_absent_column_or_file_is_named(tmp_path):
    files.csv_table(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"'colour'.*'height', 'width', 'depth', 'label'"):
        table(tmp_path / "a.csv", label="colour")
    for name in ("absent.csv", "absent.parquet"):
        with pytest.raises(DataError, match=f"{name}.*no such file"):
            table(tmp_path / name)


@pytest.mark.parametrize(
    ("columns", "word"),
    [
        ({"a": [1.0, None]}, "1 missing in column 'a'"),
        ({"a": [b"x", b"y"]}, "binary in column 'a'"),
        ({"a": [1.0, np.inf]}, "inf in row 2"),
        ({"a": arrow.array([], arrow.float32())}, "empty table"),
        ({"a": [1, 2], "y": [4, None]}, "1 missing in column 'y'"),
    ],
)
def test_a_bad_parquet_table_is_named(tmp_path, columns, word):
    path = tmp_path / "table.parquet"
    parquet.write_table(arrow.table(columns), path)
    with pytest.raises(DataError) as error:
        table(path)
    assert str(path) in str(error.value)
    assert word in str(error.value)


def test_a_truncated_parquet_file_is_named(tmp_path):
    path = tmp_path / "table.parquet"
    parquet.write_table(arrow.table({"a": np.arange(100.0)}), path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match=r"table\.parquet.*ArrowInvalid"):
        table(path)


def test_rows_with_gaps_are_left_out_on_request_and_counted(tmp_path):
    text = "n,size,town\n" + "1,0.5,Ulm\n2,,Bonn\n3,1.5,NA\n4,2.5,Ulm\n" * 10
    (tmp_path / "gaps.csv").write_text(text)
    path = tmp_path / "gaps.csv"
    with pytest.raises(DataError) as error:
        table(path)
    for words in (
        "10 missing in column 'size', 10 missing in column 'town'",
        "(skip_bad=True)",
        "arbitrary_conditioning",
    ):
        assert words in str(error.value)
    frame = pandas.read_csv(path)
    frame.to_parquet(tmp_path / "gaps.parquet")
    kept = table(path, skip_bad=True)
    assert kept.arrays["x"].tolist() == [[1, 0.5, 0], [4, 2.5, 0]] * 10
    assert kept.features[0].dtype == "int"
    for given in (path, tmp_path / "gaps.parquet", frame):
        with pytest.warns(data.DataNote, match="20 of 40 rows lack a value, and are left out"):
            loaded = data.load(given, skip_bad=True)
        assert sum(len(part) for part in (loaded.train, loaded.validation, loaded.test)) == 20
        with pytest.raises(DataError, match="10 missing in column 'size'"):
            data.load(given)
    with pytest.raises(DataError, match="2 missing in column 'a'"):  # no row is left
        data.load(pandas.DataFrame({"a": [None, None], "b": [1.0, 2.0]}), skip_bad=True)
    with pytest.raises(ValueError, match="skip_bad is for a data frame"):
        data.load(np.zeros((9, 2)), skip_bad=True)


@pytest.mark.parametrize("names", [["1_1", "1_12", "11_2"], ["2020_12", "202_01", "2_3"], ["١", "٢", "٣"]])
@pytest.mark.parametrize("gap", [False, True])
def test_text_that_python_alone_reads_as_numbers_stays_text(names, gap, tmp_path):
    rows = [f"{name},{place}" for place, name in enumerate(names * 20)] + ["1_1,"] * gap
    path = tmp_path / "plates.csv"
    path.write_text("\n".join(["plate,x", *rows]), encoding="utf-8")
    found = table(path, skip_bad=gap)
    assert found.features[0].labels == tuple(sorted(names))
    assert len(found.arrays["x"]) == 60


def test_a_name_of_a_column_may_hold_a_line_break(tmp_path):
    (tmp_path / "a.csv").write_text('"height\n(cm)",b\n1.5,2\n2.5,3\n')
    found = table(tmp_path / "a.csv")
    assert [feature.name for feature in found.features] == ["height (cm)", "b"]
    np.testing.assert_array_equal(found.arrays["x"], np.array([[1.5, 2], [2.5, 3]], np.float32))
    (tmp_path / "b.csv").write_text('"c\nd",e\n1,x\n2,y\n')
    assert [feature.name for feature in table(tmp_path / "b.csv").features] == ["c d", "e"]
