"""What `polyvae datasets` and `polyvae recipes` list and fetch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.commands import Say
from polyvae import data


def test_fetch_says_where_the_data_set_lies(say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "fetch", lambda name, data_dir: Path(data_dir) / name)
    assert say("datasets", "fetch", "mnist", "--data-dir", tmp_path) == (0, f"{tmp_path / 'mnist'}\n", "")
    out = say("datasets", "fetch", "mnist", "--data-dir", tmp_path, "--json")[1]
    assert json.loads(out) == {"name": "mnist", "where": str(tmp_path / "mnist")}


def test_lists_of_data_sets_and_recipes(say: Say) -> None:
    code, out, _ = say("datasets", "--json")
    found = {entry["name"]: entry for entry in json.loads(out)}
    assert code == 0
    assert found["digits"]["present"]
    assert found["mnist"]["shape"] == [1, 28, 28]
    code, out, _ = say("datasets", "list")
    assert code == 0
    assert all(name in out for name in found)
    code, out, _ = say("recipes", "--json")
    papers = {entry["name"]: entry["paper"] for entry in json.loads(out)}
    assert "Importance Weighted Autoencoders" in papers["iwae"]
    assert papers["ae"] == ""
    assert all(name in say("recipes")[1] for name in papers)
