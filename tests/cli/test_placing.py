"""`polyvae place-sensors`: positions that `train --positions` takes, as text, JSON and a figure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import polyvae as pv
from polyvae.cli import main


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    stream = np.random.default_rng(0)
    codes, shapes = stream.normal(size=(60, 4)), stream.normal(size=(4, 2 * 6 * 8))
    u, v = (codes @ shapes).reshape(60, 2, 6, 8).swapaxes(0, 1).copy()
    u[:, 2:4, 3:5] = v[:, 2:4, 3:5] = 0.0
    np.savez(tmp_path / "flow.npz", u=u, v=v, t=np.arange(60))
    return tmp_path / "flow.npz"


@pytest.mark.parametrize("method", ["exchange", "greedy", "qr"])
def test_positions_are_those_of_the_training_part(
    method: str, flow: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["place-sensors", str(flow), "--count", "3", "--method", method, "--reading-noise", "0.1"]
    assert main([*line, "--out", str(tmp_path / "s.png"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    expected = pv.observe.place_sensors(pv.data.load(flow).train.tensors["x"], 3, 0.1, method)
    assert told["positions"] == expected.tolist()
    assert (told["method"], told["reading_noise"], told["files"]) == (method, 0.1, [str(tmp_path / "s.png")])
    with Image.open(tmp_path / "s.png") as picture:
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 50
    assert main(line) == 0
    text = capsys.readouterr().out
    argument = ",".join(map(str, expected.flatten().tolist()))
    first, then = (line for line in text.splitlines() if "polyvae train" in line)
    told = f"--data {flow} --mask points --positions {argument}"
    assert first == f"next: polyvae train gaussian_process {told}"  # there are 48 fields to learn from
    assert then == f"or, of fields of many dimensions: polyvae train arbitrary_conditioning {told}"
    mask = pv.masks.observation("points", positions=expected.tolist())
    assert int(mask.mask(torch.zeros(1, 2, 6, 8)).sum()) == 3


def test_a_network_is_named_first_where_fields_are_many_or_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = np.random.default_rng(0)
    np.savez(tmp_path / "many.npz", u=stream.normal(size=(1400, 4, 4)), t=np.arange(1400))
    np.save(tmp_path / "pictures.npy", stream.integers(0, 256, (60, 8, 8), dtype=np.uint8))
    for name, others in (("many.npz", ["gaussian_process"]), ("pictures.npy", [])):
        assert main(["place-sensors", str(tmp_path / name), "--count", "2"]) == 0
        lines = [line for line in capsys.readouterr().out.splitlines() if "polyvae train" in line]
        assert [line.partition("polyvae train ")[2].split()[0] for line in lines] == ["arbitrary_conditioning", *others]


def test_what_has_no_places_for_sensors_is_refused(
    flow: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "table.npy", np.random.default_rng(0).normal(size=(50, 3)))
    for line, said in (
        ([str(tmp_path / "table.npy")], "sensors stand on fields or pictures [C, H, W]"),
        ([str(flow), "--count", "45"], "--count: 45 sensors do not fit into the 44 places where fields differ"),
        ([str(flow), "--method", "best"], "--method: expected one of exchange, greedy, qr"),
        ([str(flow), "--number", "4"], "--count"),
        ([str(flow), "--out", str(flow / "x.png")], "x.png"),
    ):
        assert main(["place-sensors", *line]) != 0, line
        assert said in capsys.readouterr().err
