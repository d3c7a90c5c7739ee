"""What the system refuses is said of the path that was asked for, and two may write the same file at once."""

from __future__ import annotations

import errno
import os
import resource
import signal
import threading
from pathlib import Path

import pytest
import torch

import polyvae as pv
from polyvae.cli import main
from polyvae.data.files.writing import check_regular, replacing, write_text
from polyvae.training.store import write_tensors


def test_a_full_disk_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match=r"report\.json'$") as caught:
            write_text(path, "x" * 10_000)
        with pytest.raises(pv.RunError, match="weights could not be written") as tensors:
            write_tensors(tmp_path / "weights", {"a": torch.zeros(10_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.filename == str(path)
    assert ".part" not in str(caught.value) + str(tensors.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("named", [True, False])
def test_whatever_is_refused_of_the_place_beside_is_said_of_the_path(number: int, named: bool, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    with pytest.raises(OSError, match=r"picture\.png") as caught, replacing(path) as part:
        raise OSError(number, "refused", str(part)) if named else OSError(number, "refused")
    assert (caught.value.errno, caught.value.filename) == (number, str(path))


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="elsewhere"), replacing(tmp_path / "file"):
        (tmp_path / "elsewhere").read_text()


def test_a_device_or_a_pipe_is_refused_and_stays_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/null")):
        with pytest.raises(OSError, match="a device or a pipe, and a file is to be written"):
            check_regular(path)
    with pytest.raises(OSError, match=r"a device or a pipe.*link'"):
        write_text(tmp_path / "link", "text")
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link").is_symlink()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_link_stays_one_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    for name in ("there", "new"):
        (tmp_path / name).symlink_to(tmp_path / "real" / name)
    (tmp_path / "real" / "there").write_text("old")
    for name in ("there", "new"):
        write_text(tmp_path / name, "text")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "real" / name).read_text() == "text"
    assert len(list((tmp_path / "real").iterdir())) == 2


def test_a_folder_given_for_a_file_and_a_file_for_a_folder_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(IsADirectoryError, match=r"it is a folder.*folder'"):
        write_text(tmp_path / "folder", "")
    with pytest.raises(NotADirectoryError, match="file is a file, not a folder"):
        write_text(tmp_path / "file" / "inner", "")
    with pytest.raises(NotADirectoryError, match=r"deep"):
        write_text(tmp_path / "file" / "inner" / "deep", "")
    line = ["train", "vae", "--data", "digits", "--epochs", "1", "--limit", "50", "--run"]
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        assert main([*line, str(place)]) == 1
        said = capsys.readouterr().err.splitlines()[-1]
        assert str(place) in said
        assert ".part" not in said


def test_two_may_write_the_same_file_at_once(tmp_path: Path) -> None:
    path, inside = tmp_path / "file", threading.Barrier(2)

    def write(text: str) -> None:
        with replacing(path) as part:
            part.write_text(text)
            inside.wait(10)

    threads = [threading.Thread(target=write, args=(text,)) for text in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in ("one", "two")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
