"""The example on places of sensors: a table of finite numbers, the same law for all."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_a_row_tells_every_way_of_placing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    example = importlib.import_module("sensor_places")
    stream = np.random.default_rng(0)
    u, v = (stream.normal(size=(60, 3)) @ stream.normal(size=(3, 2 * 5 * 6))).reshape(60, 2, 5, 6).swapaxes(0, 1)
    np.savez(tmp_path / "flow.npz", u=u, v=v, t=np.arange(60))
    example.main(["--data", str(tmp_path / "flow.npz"), "--count", "2", "--noise", "0", "0.1"])
    clean, noisy = capsys.readouterr().out.splitlines()
    for line, most in ((clean, 1e-3), (noisy, 1.0)):
        cells = line.split(": ")[1].split("; ")
        assert [cell.rsplit(" ", 2)[0] for cell in cells] == ["exchange", "greedy", "qr", "best of 20", "at random"]
        assert all(0 <= float(each) < most for cell in cells for each in cell.rsplit(" ", 2)[1].rstrip(",").split(","))
