"""A user's own modalities: columns of tables and fields, arrays, files and folders by name, and what rows lack."""

from __future__ import annotations

import json

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

from helpers import format_files
from polyvae import data
from polyvae.cli.train import data_options
from polyvae.data import DataError, DataNote
from polyvae.data.modalities.groups import groups_of
from polyvae.recipes import RECIPES
from polyvae.training.description import describe

RNG = np.random.default_rng(0)
ROWS = 60
PICTURES = RNG.integers(0, 256, (ROWS, 8, 8), dtype=np.uint8)
SOUND = RNG.normal(size=(ROWS, 5)).astype(np.float32)
LABELS = np.arange(ROWS) % 3


def table():
    return pandas.DataFrame(
        {
            "row": np.arange(200) + 0.5,  # tells rows again
            "u": RNG.normal(size=200),
            "v": RNG.normal(size=200),
            "cp": RNG.exponential(size=200),
            "town": RNG.choice(list("abc"), 200),
            "label": RNG.integers(0, 3, 200),
        }
    )


def of_all(loaded, name):
    return torch.cat([split.tensors[name] for split in loaded.parts.values()])


@pytest.mark.parametrize(
    "asked",
    [
        "flow=u+v,pressure=cp",
        " flow = u + v , pressure=cp",
        {"flow": ["u", "v"], "pressure": "cp"},
        {"flow": ["u", "v"], "pressure": ("cp",)},
    ],
)
def test_modalities_are_named_in_text_and_in_mappings(asked):
    assert groups_of(asked) == {"flow": ("u", "v"), "pressure": ("cp",)}
    assert groups_of("u,v") == groups_of(["u", "v"]) == {"u": ("u",), "v": ("v",)}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("u", "two at least"),
        ("a=u,b=u", "got u in several"),
        ("u,u", "have a name each"),
        ("u,body mass", "as in mass=body mass"),
        ("x,y", "not x, y, seen"),
        ("a=,b=u", "a has no columns"),
    ],
)
def test_what_names_no_modalities_is_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        data.Options(modalities=asked)


@pytest.mark.parametrize("kind", ["frame", "wrapped", "csv", "parquet"])
def test_columns_of_a_table_become_modalities_with_kinds_of_their_own(tmp_path, kind):
    frame, asked = table(), "flow=row+u+v,pressure=cp,town"
    if kind == "csv":
        frame.to_csv(tmp_path / "a.csv", index=False)
    elif kind == "parquet":
        frame.to_parquet(tmp_path / "a.parquet")
    if kind == "wrapped":
        loaded = data.wrap(frame, modalities=asked)
    else:
        loaded = data.load(frame if kind == "frame" else tmp_path / f"a.{kind}", modalities=asked)
    specs = loaded.spec.values
    assert [spec.kinds for spec in specs.values()] == [("real",), ("positive",), ("category",)]
    assert specs["town"].columns[0].labels == ("a", "b", "c")
    assert loaded.spec.shapes == {"flow": (3,), "pressure": (1,), "town": (1,), "y": ()}
    assert (loaded.spec.classes, loaded.spec.label, loaded.spec.x) == (3, "label", ())
    rows = (of_all(loaded, "flow")[:, 0] - 0.5).long()
    assert sorted(rows.tolist()) == [*range(200)]
    np.testing.assert_allclose(of_all(loaded, "pressure")[:, 0], frame["cp"].to_numpy()[rows], rtol=1e-6)
    assert of_all(loaded, "y").tolist() == frame["label"].to_numpy()[rows].tolist()
    assert not any(name.endswith("_present") for name in loaded.train.tensors)
    train = loaded.train.tensors["pressure"].log()
    column = specs["pressure"].columns[0]
    assert (column.centre, column.scale) == pytest.approx(
        (float(train.mean()), float(train.std(correction=0))), rel=1e-4
    )


def test_kinds_are_asked_for_by_modality_or_column():
    frame = table()
    frame["n"] = RNG.poisson(3, 200)
    asked = {"modalities": "flow=u+v,pressure=cp+n", "kind": "pressure=real"}
    assert [spec.kinds for spec in data.load(frame, **asked).spec.values.values()] == [("real",), ("real",)]
    by_column = data.load(frame, modalities="flow=u+v,pressure=cp+n", kind={"n": "counts", "cp": "real"})
    assert by_column.spec.values["pressure"].kinds == ("real", "counts")
    with pytest.raises(DataError, match="one for 'w'"):
        data.load(frame, modalities="flow=u+v,pressure=cp", kind="w=real")
    with pytest.raises(DataError, match="numbers above 0"):
        data.load(frame, modalities="flow=u+v,pressure=cp", kind="flow=positive")


def test_empty_cells_of_a_table_say_what_a_row_lacks(tmp_path):
    frame = table()
    frame.loc[3:20, "cp"] = np.nan
    frame.loc[50:54, ["u", "v"]] = np.nan
    frame.loc[60, "u"] = np.nan
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.warns(DataNote, match="1 rows have some of the values of flow and not all, and are taken to lack it"):
        loaded = data.load(tmp_path / "a.csv", modalities="where=row,flow=u+v,pressure=cp")
    rows = (of_all(loaded, "where")[:, 0] - 0.5).long()
    for name, gone in (("pressure", {*range(3, 21)}), ("flow", {*range(50, 55), 60})):
        there = of_all(loaded, f"{name}_present")
        assert {*rows[~there].tolist()} == gone
        assert not bool(of_all(loaded, name)[~there].any())
        assert bool((of_all(loaded, name)[there] != 0).all())
    assert of_all(loaded, "where_present").all()
    assert loaded.spec.values["pressure"].kinds == ("positive",)  # the zeros that stand for nothing do not count
    assert loaded.missing == 0


def test_rows_and_columns_that_make_no_sense_are_named():
    frame = table()
    with pytest.raises(DataError, match="'w'"):
        data.load(frame, modalities="u,w")
    frame.loc[7:8, ["u", "cp"]] = np.nan
    with pytest.raises(DataError, match=r"one of \['u', 'cp'\] at least in every row"):
        data.load(frame, modalities="u,cp")
    with pytest.warns(DataNote, match="2 of 200 rows lack a value, and are left out"):
        assert len(of_all(data.load(frame, modalities="u,cp", skip_bad=True), "u")) == 198
    with pytest.raises(ValueError, match="columns or fields of data that have such; got mnist"):
        data.load("mnist", modalities="u,v")


def test_channels_of_the_wake_are_modalities_cut_in_blocks_as_before(tmp_path):
    format_files.cylinder_flow(tmp_path / "data" / "cylinder_flow" / "cylinder_re100_grid.npz")
    whole = data.load("cylinder_flow")
    each = data.load("cylinder_flow", modalities="u,v,cp")
    grouped = data.load("cylinder_flow", modalities="flow=u+v,pressure=cp", absent=0.4)
    assert each.cut == grouped.cut == whole.cut
    assert "30 blocks" in each.cut
    for part, split in whole.parts.items():
        for place, name in enumerate(("u", "v", "cp")):
            assert torch.equal(each.parts[part].tensors[name], split.tensors["x"][:, place : place + 1])
            assert torch.equal(each.parts[part].tensors["t"], split.tensors["t"])
    assert grouped.spec.shapes == {"flow": (2, 64, 128), "pressure": (1, 64, 128)}
    assert torch.equal(grouped.test.tensors["flow"], whole.test.tensors["x"][:, :2])
    assert [column.name for column in grouped.spec.values["flow"].columns] == ["u", "v"]
    assert whole.spec.columns[0].name is None  # as it was without modalities
    for name in ("u", "v", "cp"):
        column, values = each.spec.values[name].columns[0], each.train.tensors[name].double()
        assert (column.centre, column.scale) == pytest.approx(
            (float(values.mean()), float(values.std())), rel=1e-2, abs=1e-6
        )


def test_fields_of_a_file_are_modalities(tmp_path):
    fields = {name: RNG.normal(size=(ROWS, 8, 8)) for name in ("u", "v", "cp")}
    np.savez(tmp_path / "flow.npz", **fields, t=np.arange(ROWS) * 1.0)
    loaded = data.load(tmp_path / "flow.npz", modalities="u,v,cp")
    assert loaded.spec.shapes == {"u": (1, 8, 8), "v": (1, 8, 8), "cp": (1, 8, 8)}
    assert "blocks" in loaded.cut
    again = data.load(**json.loads(json.dumps(loaded.call)))
    assert torch.equal(again.train.tensors["cp"], loaded.train.tensors["cp"])


def test_arrays_of_a_file_are_modalities_with_flags_and_gaps(tmp_path):
    sound, there = SOUND.copy(), np.arange(ROWS) > 3
    sound[7] = np.nan
    np.savez(tmp_path / "a.npz", image=PICTURES, sound=sound, y=LABELS, image_present=there)
    loaded = data.load(tmp_path / "a.npz", modalities="image,sound")
    assert loaded.spec.values["image"].levels == 256
    assert loaded.spec.values["sound"].kinds == ("real",)
    assert int((~of_all(loaded, "image_present")).sum()) == 4
    assert int((~of_all(loaded, "sound_present")).sum()) == 1
    by_sound = {row.tobytes(): place for place, row in enumerate(SOUND)}
    for split in loaded.parts.values():
        batch = split.batch(torch.arange(len(split)))
        for image, heard, y, seen in zip(
            batch["image"], split.tensors["sound"], split.tensors["y"], split.tensors["image_present"], strict=True
        ):
            if (place := by_sound.get(heard.numpy().tobytes())) is not None:
                np.testing.assert_allclose(image[0], PICTURES[place] / 255 * float(seen), atol=1e-6)
                assert int(y) == LABELS[place]


def test_official_parts_of_a_file_stay_apart(tmp_path):
    arrays = {f"{name}_{part}": value for part in ("train", "test") for name, value in
              {"image": PICTURES, "sound": SOUND, "y": LABELS}.items()}  # fmt: skip
    np.savez(tmp_path / "a.npz", **arrays)
    loaded = data.load(tmp_path / "a.npz", modalities="image,sound")
    assert [len(split) for split in loaded.parts.values()] == [54, 6, 60]
    np.testing.assert_array_equal(loaded.test.tensors["image"][:, 0], PICTURES)


def folder_of(place, rows, names=str):
    place.mkdir(parents=True)
    for row in rows:
        Image.fromarray(PICTURES[row]).save(place / f"{names(row)}.png")
    return place


def test_pictures_of_folders_go_by_their_names(tmp_path):
    left = folder_of(tmp_path / "left", [row for row in range(ROWS) if row not in (4, 30)])
    right = folder_of(tmp_path / "right", [row for row in range(ROWS) if row != 9])
    loaded = data.load({"left": left, "right": str(right)})
    assert loaded.call == {"name": {"left": str(left), "right": str(right)}}
    both = of_all(loaded, "left_present") & of_all(loaded, "right_present")
    assert [int((~of_all(loaded, f"{side}_present")).sum()) for side in ("left", "right")] == [2, 1]
    assert torch.equal(of_all(loaded, "left")[both], of_all(loaded, "right")[both])
    again = data.load(**json.loads(json.dumps(loaded.call)))
    for part, split in loaded.parts.items():
        for name, value in split.tensors.items():
            assert torch.equal(value, again.parts[part].tensors[name])
    assert data.load({"left": left, "right": right}, size=4).spec.values["left"].x == (1, 4, 4)


def test_folders_of_classes_label_their_rows(tmp_path):
    for side in ("left", "right"):
        for name, rows in (("cat", range(10)), ("dog", range(10, 20))):
            folder_of(tmp_path / side / name, rows)
    loaded = data.load({"left": tmp_path / "left", "right": tmp_path / "right"})
    assert (loaded.spec.classes, loaded.spec.labels) == (2, ("cat", "dog"))
    by_picture = {PICTURES[row].tobytes(): row >= 10 for row in range(20)}
    assert [by_picture[row.numpy().tobytes()] for row in of_all(loaded, "left")] == of_all(loaded, "y").bool().tolist()


def test_folders_stand_beside_arrays_and_files(tmp_path):
    """Where pictures are missing, their names are the numbers of rows; else they are in order."""
    np.save(tmp_path / "sound.npy", SOUND)
    folder_of(tmp_path / "some", [row for row in range(ROWS) if row % 7])
    folder_of(tmp_path / "all", range(ROWS), lambda row: f"p{row:03}")
    for folder in ("some", "all"):
        for sound in (SOUND, tmp_path / "sound.npy"):
            values = {"photo": tmp_path / folder, "sound": sound, "y": LABELS}
            loaded = data.load(values, modalities=["photo", "sound"])
            assert loaded.spec.classes == 3
            order = [int(np.flatnonzero((row.numpy() == SOUND).all(1))[0]) for row in of_all(loaded, "sound")]
            expected = (
                PICTURES[order] * (np.array(order) % 7 > 0)[:, None, None] if folder == "some" else PICTURES[order]
            )
            np.testing.assert_array_equal(of_all(loaded, "photo")[:, 0], expected)
    folder_of(tmp_path / "named", range(9), lambda row: f"p{row}")
    with pytest.raises(DataError, match="called by the numbers of their rows"):
        data.load({"photo": tmp_path / "named", "sound": SOUND})
    with pytest.raises(DataError, match="no such file"):
        data.load({"photo": tmp_path / "nowhere", "sound": SOUND})


def test_none_masked_values_and_flags_say_what_is_missing():
    hidden = np.broadcast_to((np.arange(ROWS) < 3)[:, None, None], PICTURES.shape)
    values = {
        "a": [None, *np.ones((ROWS - 1, 3))],
        "b": np.ma.masked_array(PICTURES, hidden),
        "c": SOUND,
        "c_present": np.arange(ROWS) != 5,
        "age": np.arange(ROWS)[:, None] / 2,
        "y": LABELS,
    }
    loaded = data.wrap(values, modalities="a,b,c", test=0)
    age = of_all(loaded, "age")[:, 0] * 2
    for name, gone in (("a", [0]), ("b", [0, 1, 2]), ("c", [5])):
        there = of_all(loaded, f"{name}_present")
        assert sorted(age[~there].tolist()) == gone
        assert not bool(of_all(loaded, name)[~there].any())
    assert [each.name for each in loaded.spec.beside] == ["age"]
    assert loaded.spec.values["b"].levels == 256
    parts = data.wrap({"a": SOUND, "b": PICTURES}, modalities="a,b", validation={"a": SOUND[:4], "b": PICTURES[:4]})
    assert len(parts.validation) == 4
    assert len(parts.test) == 0


def test_arrays_of_unequal_rows_and_bad_flags_are_named():
    with pytest.raises(DataError, match=r"as many rows of every modality.*'a': 60, 'b': 50"):
        data.wrap({"a": SOUND, "b": PICTURES[:50]}, modalities="a,b")
    with pytest.raises(DataError, match=r"a_present.*True or False for every row"):
        data.wrap({"a": SOUND, "b": PICTURES, "a_present": np.arange(ROWS)}, modalities="a,b")
    with pytest.raises(DataError, match="a value in one row at least"):
        data.wrap({"a": [None] * ROWS, "b": PICTURES}, modalities="a,b")


def test_arrays_are_put_side_by_side_in_one_modality():
    values = {"u": PICTURES[:, :, :4] / 50.0, "v": PICTURES[:, :, 4:] / 50.0, "n": SOUND[:, 0], "m": SOUND[:, 1]}
    loaded = data.wrap(values, modalities="flow=u+v,two=n+m", kind={"flow": "real"})
    assert loaded.spec.shapes == {"flow": (2, 8, 4), "two": (2,)}
    assert [column.name for column in loaded.spec.values["two"].columns] == ["n", "m"]
    with pytest.raises(DataError, match="arrays of one shape"):
        data.wrap(values, modalities="flow=u+n,two=m")


def test_few_labels_are_kept_of_several_modalities():
    loaded = data.load({"a": SOUND, "b": PICTURES, "y": LABELS}, modalities="a,b", labels=6)
    assert int(loaded.train.tensors["y_known"].sum()) == 6
    assert bool(loaded.test.tensors["y_known"].all())


def test_the_command_line_takes_modalities_in_text():
    options = {option.name: option for option in data_options()}
    assert options["modalities"].flag == "--modalities"
    assert options["modalities"].read("flow=u+v,pressure=cp") == "flow=u+v,pressure=cp"
    assert options["absent"].read("0.4") == 0.4
    assert options["pairings"].read("30") == 30


def test_uncut_data_have_their_modalities(tmp_path):
    from polyvae.data.loading import uncut

    table().to_csv(tmp_path / "a.csv", index=False)
    found = uncut(tmp_path / "a.csv", modalities="flow=u+v,pressure=cp", absent=0.5)
    assert len(found.test) == 200
    assert [*found.spec.values] == ["flow", "pressure"]
    assert found.test.absent == {}


def test_a_dataset_of_mappings_and_a_frame_of_other_columns_are_told_apart():
    items = [
        {"a": torch.from_numpy(SOUND[row]), "b": torch.from_numpy(PICTURES[row]), "y": row % 3} for row in range(ROWS)
    ]

    class Items(torch.utils.data.Dataset):
        def __len__(self):
            return ROWS

        def __getitem__(self, row):
            return items[row]

    loaded = data.wrap(Items(), modalities="a,b", test=0)
    assert loaded.spec.shapes == {"a": (5,), "b": (1, 8, 8), "y": ()}
    assert data.wrap(SOUND, modalities="low=0+1,high=2+3+4").spec.shapes == {"low": (2,), "high": (3,)}
    with pytest.raises(DataError, match=r"values called a, c.*found b"):
        data.wrap({"b": SOUND, "e": SOUND}, modalities="a,c")


def test_a_series_of_modalities_is_noted():
    times = np.linspace(0, 6, ROWS)[:, None] + np.arange(5)
    with pytest.warns(DataNote, match="consecutive examples are alike"):
        data.load({"a": np.sin(times), "b": PICTURES}, modalities="a,b")


@pytest.mark.parametrize("change", [{"seed": 1}, {"pairings": 3}, {"absent": 0.5}, {"absent": 0.4, "validation": 0.2}])
def test_a_run_knows_the_data_that_it_began_with(tmp_path, change):
    """The checksums of run.json, by which a run is resumed: the same for the same data, others for others."""
    format_files.mnist(tmp_path / "data" / "mnist", 300, 50)
    format_files.svhn(tmp_path / "data" / "svhn", 120, 40)

    def checksums(**options):
        loaded = data.load("mnist-svhn", **options)
        return describe(RECIPES["mmvae"](loaded.spec), loaded, {})["data"]["checksum"]

    options = {"pairings": 2, "absent": 0.4}
    assert checksums(**options) == checksums(**options)
    assert checksums(**options)["train"] != checksums(**options | change)["train"]
