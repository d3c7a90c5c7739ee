"""Every test of data has a cache and a folder of data of its own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("POLYVAE_DATA", str(tmp_path / "data"))
