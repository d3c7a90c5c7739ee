"""A run in memory is saved, read again and goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import polyvae as pv
from helpers.runs import pictures, same, seen, small, weights
from polyvae.data import Data


def test_a_run_in_memory_is_saved_and_read_again(run: pv.Run, tmp_path: Path) -> None:
    saved = run.save(tmp_path / "run")
    again = pv.Run.load(tmp_path / "run")
    assert saved.folder == tmp_path / "run"
    assert same(weights(again.recipe), weights(run.recipe))
    assert again.history == run.history
    np.testing.assert_array_equal(again.score(seen(run)), run.score(seen(run)))
    with pytest.raises(pv.RunError, match="run holds a run; choose an empty"):
        run.save(tmp_path / "run")
    with pytest.raises(pv.RunError, match=r"run\.json is a file; choose"):
        run.save(tmp_path / "run" / "run.json")
    with pytest.raises(pv.RunError, match="saved without the state"):
        pv.fit(run.recipe, pictures(), tmp_path / "run", resume=True, epochs=2, batch_size=16, progress=False)


def test_a_saved_copy_of_a_folder_goes_on(tmp_path: Path) -> None:
    data, settings = pictures(), {"batch_size": 16, "progress": False}
    pv.fit(small("vae", data), data, tmp_path / "a", epochs=1, **settings).save(tmp_path / "b")
    for folder in ("a", "b"):
        pv.fit(small("vae", data), data, tmp_path / folder, epochs=2, resume=True, **settings)
    assert same(weights(pv.Run.load(tmp_path / "a").recipe), weights(pv.Run.load(tmp_path / "b").recipe))


def test_a_model_trained_without_a_recipe_by_name_is_saved_too(tmp_path: Path) -> None:
    data = pictures()
    made = small("vae", data)
    run = pv.fit(pv.Recipe(made.model, made.objective), data, epochs=1, progress=False)
    run.save(tmp_path)
    again = pv.Run.load(tmp_path, pv.Recipe(small("vae", data, seed=5).model, made.objective))
    np.testing.assert_array_equal(again.encode(seen_of(data)), run.encode(seen_of(data)))
    with pytest.raises(ValueError, match=r"\[N, 1, 4, 4\]"):
        again.encode(np.zeros((2, 1, 5, 5)))


def seen_of(data: Data) -> np.ndarray:
    return data.train.tensors["x"].numpy()
