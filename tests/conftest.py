"""Fixtures that every test file may use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.hostile import make_files

LONG = ("test_shell_lines_of_the_readme_run", "test_three_epochs_on_mnist_beat_the_bar")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no worker waits for another at the end."""
    items.sort(key=lambda item: item.name not in LONG)


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path | None]:
    """The folder of a real data set, `real_data("mnist")`, or None where $POLYVAE_DATA does not hold it."""
    root = os.environ.get("POLYVAE_DATA")

    def folder(name: str) -> Path | None:
        found = Path(root) / name if root else None
        return found if found is not None and found.is_dir() and any(found.iterdir()) else None

    return folder


@pytest.fixture(scope="session")
def hostile_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of good and bad data, of runs and of what is none; a test must leave it as it was."""
    place = tmp_path_factory.mktemp("hostile")
    make_files(place)
    return place


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No count says how far it is, however slow the machine: standard error holds what a command has to say."""
    monkeypatch.setattr("polyvae.training.progress.SHORT", float("inf"))
