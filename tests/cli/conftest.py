"""Fixtures of the commands, called within this process."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from helpers.commands import TINY, Say
from polyvae.cli import main
from polyvae.training.loop import Loop


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command: its exit code, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def ctrl_c(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """A context in which Ctrl-C is pressed behind the third step of a training."""
    step = Loop._step

    def stopped(loop: Loop, index: Tensor) -> None:
        step(loop, index)
        if loop.step == 3:
            signal.raise_signal(signal.SIGINT)

    @contextmanager
    def pressed() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(Loop, "_step", stopped)
            yield

    return pressed


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs, to be read."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert main(["train", "vae", *TINY, "--epochs", "2", "--run", str(folder)]) == 0
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of that run, to be spoilt."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture(scope="session")
def modal_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two pictures, two numbers and a label."""
    folder = tmp_path_factory.mktemp("modalities")
    stream = np.random.default_rng(0)
    x = stream.integers(0, 255, (60, 6, 6), dtype=np.uint8)
    size = stream.normal(size=(60, 2)).astype(np.float32)
    np.savez(folder / "views.npz", near=x, far=x[:, ::-1].copy(), size=size, y=np.arange(60) % 3)
    line = ["train", "mopoe", "--data", str(folder / "views.npz"), "--modalities", "near,far,size", "--latent", "2"]
    assert main([*line, "--epochs", "1", "--run", str(folder / "run")]) == 0
    return folder / "run"
