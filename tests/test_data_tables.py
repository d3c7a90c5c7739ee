"""Tables of numbers: csv in its dialects and parquet, labels as numbers or names; every fault named with its place."""

import format_files as files
import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from polyvae.data.errors import DataError
from polyvae.data.formats import table


def test_csv_gives_numbers_and_numbered_names(tmp_path):
    written = files.csv_table(tmp_path / "a.csv")
    x, y = table(tmp_path / "a.csv")
    np.testing.assert_array_equal(x, written["x"])
    np.testing.assert_array_equal(y, written["y"])
    assert (x.dtype, y.dtype) == (np.float32, np.int64)
    written = files.csv_table(tmp_path / "b.csv", labels=())
    x, y = table(tmp_path / "b.csv")
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
    x, y = table(path)
    assert x.tolist() == [[1, 2], [3, 4]]
    assert y.tolist() == [0, 1]


def test_the_column_of_labels_is_chosen_by_name_or_left_among_the_features(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,kind,y\n1,0,5\n2,1,6\n")
    assert table(path)[0].tolist() == [[1, 0], [2, 1]]
    x, y = table(path, label="kind")
    assert (x.tolist(), y.tolist()) == ([[1, 5], [2, 6]], [0, 1])
    x, y = table(path, label="")
    assert (x.shape, y) == ((2, 3), None)


def test_numbered_columns_are_a_header(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("0,1,2\n5,6,7\n")
    assert table(path)[0].tolist() == [[5, 6, 7]]


@pytest.mark.parametrize("labels", [np.array([3, 1, 3]), ["b", "a", "b"], None])
def test_parquet_gives_what_csv_gives(tmp_path, labels):
    columns = {"a": np.array([1, 2, 3], np.int8), "b": np.array([0.5, -1, 2e3], np.float32), "c": [True, False, True]}
    parquet.write_table(arrow.table(columns | ({} if labels is None else {"label": labels})), tmp_path / "t.parquet")
    x, y = table(tmp_path / "t.parquet")
    assert x.tolist() == [[1, 0.5, 1], [2, -1, 0], [3, 2000, 1]]
    assert y is None if labels is None else y.tolist() == [1, 0, 1]


BAD = {
    "empty": ("", "empty table"),
    "header only": ("a,b\n", "empty table"),
    "blank rows": ("a,b\n\n\n", "empty table"),
    "no header": ("1.5,2\n3,4\n", "numbers: 1.5,2"),
    "nan": ("a,b\n1,2\n3,nan\n", "nan in row 2, column 'b' (1 in all)"),
    "overflow": ("a,b\n1,1e60\n", "1e+60 in row 1, column 'b'"),
    "missing cell": ("a,b\n1,2\n3,\n", "row 1, column 2"),
    "text": ("a,b\n1,2\n3,red\n", "red"),
    "short row": ("a,b,c\n1,2,3\n4\n", "column"),
    "one class": ("a,y\n1,0\n2,0\n", "only 0"),
    "fractional label": ("a,y\n1,0.5\n2,1\n", "fractional"),
    "missing label": ("a,label\n1,x\n2,\n", "1 missing"),
    "labels only": ("y\n0\n1\n", "labels only"),
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
        ({"a": ["x", "y"]}, "string in column 'a'"),
        ({"a": [1.0, np.inf]}, "inf in row 2"),
        ({"a": arrow.array([], arrow.float32())}, "empty table"),
        ({"a": [1, 2], "y": [4, 4]}, "only 4"),
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
