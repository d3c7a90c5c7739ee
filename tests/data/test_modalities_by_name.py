"""Modalities that a user names in Python: pictures that cannot be read, what is hidden, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import polyvae as pv
from polyvae import data

ROWS = 40
STREAM = np.random.default_rng(0)
UP, TURNED = STREAM.normal(size=(2, ROWS, 3)).astype(np.float32)


def folders(place: Path) -> dict[str, Path]:
    """Pictures of 40 rows in two folders, of which one cannot be read, and one more is alone in its row."""
    found = {name: place / name for name in ("photo", "scan")}
    for folder in found.values():
        folder.mkdir()
        for row in range(ROWS):
            Image.fromarray(np.full((4, 4), row * 17 % ROWS, np.uint8)).save(folder / f"{row:03}.png")
    (found["photo"] / "005.png").write_bytes(b"no picture")
    (found["photo"] / "006.png").write_bytes(b"no picture")
    (found["scan"] / "006.png").unlink()
    return found


def test_a_picture_that_cannot_be_read_is_missing_where_that_is_asked_for(tmp_path: Path) -> None:
    found = folders(tmp_path)
    with pytest.raises(data.DataError, match="skip_bad"):
        data.load(found)
    with pytest.warns(data.DataNote) as notes:
        loaded = data.load(found, skip_bad=True)
    said = " ".join(str(note.message) for note in notes)
    assert "2 of 40 files cannot be read" in said
    assert "005.png" in said
    assert "1 rows without any modality are left out" in said
    parts = loaded.parts.values()
    assert sum(map(len, parts)) == ROWS - 1
    levels = torch.cat([split.tensors["scan"].flatten(1)[:, 0] for split in parts]).long()
    there = torch.cat([split.tensors["photo_present"] for split in parts])
    photos = torch.cat([split.tensors["photo"].flatten(1)[:, 0] for split in parts]).long()
    assert levels[~there].tolist() == [5]
    assert photos[there].equal(levels[there])


def test_a_group_of_folders_is_there_where_all_are(tmp_path: Path) -> None:
    found = {**folders(tmp_path), "more": STREAM.normal(size=(ROWS, 2)).astype(np.float32)}
    (found["photo"] / "005.png").unlink()
    (found["photo"] / "006.png").unlink()
    loaded = data.load(found, modalities={"both": ["photo", "scan"], "more": "more"})
    assert sum(int((~split.tensors["both_present"]).sum()) for split in loaded.parts.values()) == 2


def test_wrap_hides_as_load_does() -> None:
    values = {"up": UP, "turned": TURNED}
    wrapped = data.wrap(values, modalities=["up", "turned"], absent=0.5, seed=3)
    loaded = data.load(values, modalities=["up", "turned"], absent=0.5, seed=3)
    assert 0 < wrapped.train.absent["up"] < 1
    assert all(wrapped.train.tensors[name].equal(each) for name, each in loaded.train.tensors.items())
    assert wrapped.lacking in repr(wrapped)
    assert "up missing in" in wrapped.lacking


def test_values_that_could_be_modalities_are_named() -> None:
    with pytest.raises(ValueError, match=r'modalities="up,turned"'):
        pv.fit("mmvae", {"up": UP, "turned": TURNED, "y": np.arange(ROWS) % 2}, epochs=1)


def test_none_outside_modalities_says_whose() -> None:
    rows = [UP[0], None, *UP[2:]]
    with pytest.raises(data.DataError, match=r"'up'.*None in row 1.*modalities="):
        data.wrap({"up": rows, "turned": TURNED})
    with pytest.raises(data.DataError, match=r"'up'.*None in row 0"):
        data.wrap({"up": [None, *UP[1:]], "turned": TURNED})


@pytest.mark.parametrize("name", ["b_present", "y_known"])
def test_names_of_flags_are_no_modalities(name: str) -> None:
    with pytest.raises(ValueError, match=f"got '{name}'"):
        data.wrap({"b": UP, name: TURNED}, modalities=["b", name])


def test_a_list_with_none_is_a_modality() -> None:
    loaded = data.wrap({"up": [UP[0], None, *UP[2:]], "turned": TURNED}, modalities=["up", "turned"])
    assert sum(int((~split.tensors["up_present"]).sum()) for split in loaded.parts.values()) == 1
