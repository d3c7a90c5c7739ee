"""What stands beside x: columns taken out of tables, arrays by name, their labels, their gaps."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from polyvae import Spec, data
from polyvae.data.errors import DataError
from polyvae.data.exchange.given import conditions, taken
from polyvae.model.spec import Beside

N = 60
RANDOM = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "height": RANDOM.normal(170, 10, N),
        "weight": RANDOM.normal(70, 10, N),
        "colour": np.tile(["red", "green", "blue"], N // 3),
        "age": RANDOM.normal(40, 5, N),
        "label": np.tile([3, 7], N // 2),
    }
)


def whole(found: data.Data, name: str) -> torch.Tensor:
    return torch.cat([part.tensors[name].float() for part in found.parts.values()]).sort(0).values


def test_columns_of_a_table_stand_beside_x_as_labels_and_vectors(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "people.csv", index=False)
    frame = data.wrap(FRAME, beside=("colour", "age"))
    for found in (frame, data.load(tmp_path / "people.csv", beside="colour,age")):
        assert found.spec.beside == (Beside("colour", (), 3, ("blue", "green", "red")), Beside("age", (1,)))
        assert [column.name for column in found.spec.columns] == ["height", "weight"]
        assert found.spec.x == (2,)
        assert found.spec.labels == ("3", "7")
        assert torch.allclose(whole(found, "age")[:, 0], torch.tensor(np.sort(FRAME["age"])).float())
        assert whole(found, "colour").tolist() == [0.0] * 20 + [1.0] * 20 + [2.0] * 20
        assert Spec.from_dict(found.spec.to_dict()) == found.spec
    assert data.load(tmp_path / "people.csv", beside="colour,age").call["beside"] == "colour,age"


def test_rows_whose_condition_is_missing_are_known_to_lack_it() -> None:
    frame = FRAME.copy()
    frame.loc[:9, "age"] = np.nan
    with pytest.warns(data.DataNote, match="kept as gaps: 10 in column 'age'"):
        found = data.wrap(frame, beside="age", gaps=True)
    known = whole(found, "age_known")
    assert known.tolist() == [0.0] * 10 + [1.0] * 50
    assert found.missing == 0.0


def test_arrays_by_name_are_conditions_and_those_asked_for_are_labels(tmp_path: Path) -> None:
    given = {
        "x": RANDOM.random((N, 4, 4)),
        "y": RANDOM.random((N, 1, 3, 5)) - 1,
        "angle": RANDOM.random((N, 2)),
        "size": np.tile([4, 6], N // 2),
    }
    np.savez(tmp_path / "all.npz", **given)
    for found in (data.wrap(given, beside="size"), data.load(tmp_path / "all.npz", beside="size")):
        kinds = found.spec.given
        assert kinds["y"].read == (1, 3, 5)
        assert kinds["angle"] == Beside("angle", (2,))
        assert kinds["size"] == Beside("size", (), 2, ("4", "6"))
        assert found.train.tensors["size"].dtype == torch.int64
    plain = data.wrap(given).spec.given
    assert plain["size"] == Beside("size", (1,))


def test_conditions_that_a_user_gives_are_read_as_the_data_call_them() -> None:
    spec = data.wrap(FRAME, beside="colour,age").spec
    found = conditions(spec, [7, 3], {"colour": ["red", "blue"], "age": [30.0, 40.0]})
    assert found["y"].tolist() == [1, 0]
    assert found["colour"].tolist() == [2, 0]
    assert found["age"].tolist() == [[30.0], [40.0]]
    split = taken(FRAME[::-1], spec)
    assert split.tensors["colour"][:3].tolist() == [0, 1, 2]
    assert split.tensors["age"].shape == (N, 1)
    with pytest.raises(ValueError, match="labels of the data of this run are blue, green, red; got pink"):
        conditions(spec, None, {"colour": ["pink"]})
    with pytest.raises(ValueError, match=r"age is \[N, 1\]; got \[1, 2\]"):
        conditions(spec, None, {"age": [[1.0, 2.0]]})


def test_what_is_not_there_and_a_table_with_nothing_left_are_refused() -> None:
    with pytest.raises(DataError, match=r"columns or arrays \['colur'\] beside x.*'colur' is none of them"):
        data.wrap(FRAME, beside="colur")
    with pytest.raises(DataError, match="a column that is left for x"):
        data.wrap(FRAME[["height", "age"]], beside="height,age")
    with pytest.raises(DataError, match="'x' is none of them"):
        data.wrap({"x": np.zeros((9, 2)), "z": np.zeros((9, 2))}, beside="x")
