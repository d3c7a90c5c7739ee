"""The cache of decoded arrays: computed once, never stale, never half-written, whoever else writes."""

import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from polyvae.data.files import cache
from polyvae.data.files.cache import cache_dir, cached
from polyvae.data.files.hashes import file_hash, known_hash


class Counted:
    """Arrays of every kind that is kept, and how often they were computed."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        rng = np.random.default_rng(self.calls)
        return {
            "train.x": rng.integers(0, 256, (20, 3, 4, 5), dtype=np.uint8),
            "train.y": rng.integers(0, 10, 20),
            "test.x": rng.random((4, 7), dtype=np.float32),
            "empty.x": np.zeros((0, 7), np.uint8),
        }


def same(left, right):
    assert left.keys() == right.keys()
    for key in left:
        assert left[key].dtype == right[key].dtype
        np.testing.assert_array_equal(left[key], right[key])


def entries(tmp_path):
    return sorted(path for path in (tmp_path / "cache" / "arrays").iterdir())


def test_arrays_are_computed_once_and_come_back_the_same(tmp_path):
    compute = Counted()
    first = cached("set", {"size": 4}, [], compute)
    second = cached("set", {"size": 4}, [], compute)
    assert compute.calls == 1
    same(first, second)
    assert len(entries(tmp_path)) == 1


def test_options_name_and_every_change_of_a_source_make_another_entry(tmp_path):
    compute, file, folder = Counted(), tmp_path / "a", tmp_path / "pictures"
    folder.mkdir()
    (folder / "inner").mkdir()
    (folder / "inner" / "1").write_bytes(b"1")
    file.write_bytes(b"1")
    seen = []

    def load(name="set", options=None, sources=(file, folder)):
        seen.append(cached(name, options or {}, sources, compute))
        return compute.calls

    assert load() == 1
    assert load() == 1
    assert load(name="other") == 2
    assert load(options={"size": 32}) == 3
    assert load(options={"centre": True, "size": 32}) == load(options={"size": 32, "centre": True}) == 4
    os.utime(file, ns=(1, 1))
    assert load() == 5
    file.write_bytes(b"12")
    assert load() == 6
    (folder / "inner" / "2").write_bytes(b"2")
    assert load() == 7
    (folder / "inner" / "1").write_bytes(b"11")
    assert load() == 8
    assert load() == 8
    same(seen[-1], seen[-2])


def truncate(entry):
    path = entry / "train.x.npy"
    os.truncate(path, path.stat().st_size // 2)


def same_size_other_type(entry):
    path = entry / "train.y.npy"
    body = path.read_bytes()
    path.write_bytes(body.replace(b"'<i8'", b"'<f8'"))


def lose(entry):
    (entry / "train.y.npy").unlink()


def scribble(entry):
    (entry / "index.json").write_text("[1, 2")


def wrong_index(entry):
    (entry / "index.json").write_text('["a list"]')


def no_index(entry):
    (entry / "index.json").unlink()


def become_a_file(entry):
    for path in entry.iterdir():
        path.unlink()
    entry.rmdir()
    entry.write_text("not a folder")


@pytest.mark.parametrize(
    "damage", [truncate, same_size_other_type, lose, scribble, wrong_index, no_index, become_a_file]
)
def test_a_damaged_entry_is_computed_again_and_replaced(tmp_path, damage):
    compute = Counted()
    cached("set", {}, [], compute)
    damage(entries(tmp_path)[0])
    second = cached("set", {}, [], compute)
    assert compute.calls == 2
    same(second, cached("set", {}, [], compute))
    assert compute.calls == 2
    assert len(entries(tmp_path)) == 1


def test_large_arrays_are_mapped_and_small_ones_read(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "LARGE", 1000)
    arrays = cached("set", {}, [], Counted())
    assert {key: isinstance(array, np.memmap) for key, array in arrays.items()} == {
        "train.x": True,
        "train.y": False,
        "test.x": False,
        "empty.x": False,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = torch.from_numpy(arrays["train.x"])
    tensor[0] = 0  # in memory only
    same(cached("set", {}, [], Counted()), Counted()())


def test_a_cache_that_cannot_be_written_costs_a_warning_not_the_data(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("POLYVAE_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="POLYVAE_CACHE"):
        same(cached("set", {}, [], Counted()), Counted()())


def test_a_full_disk_leaves_no_entry_and_still_gives_the_data(tmp_path, monkeypatch):
    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_settle", full)
    with pytest.warns(UserWarning, match="No space left"):
        same(cached("set", {}, [], Counted()), Counted()())
    assert entries(tmp_path) == []


WRITER = """
import sys, numpy as np
from polyvae.data.files.cache import cached
x = cached("set", {}, [], lambda: {"x": np.full((4_000_000,), 7, np.uint8)})["x"]
assert x.shape == (4_000_000,) and (x == 7).all()
"""


def test_concurrent_writers_leave_one_whole_entry(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER], env=dict(os.environ)) for _ in range(4)]
    assert [writer.wait() for writer in writers] == [0, 0, 0, 0]
    assert len(entries(tmp_path)) == 1


def test_a_writer_killed_half_way_leaves_no_entry(tmp_path):
    script = WRITER.replace("x = cached", "from polyvae.data.files import cache\ncache._settle = stop\nx = cached")
    script = f"import os, signal\ndef stop(file): os.kill(os.getpid(), signal.{signal.SIGKILL.name})\n{script}"
    assert subprocess.run([sys.executable, "-c", script], env=dict(os.environ)).returncode == -signal.SIGKILL
    compute = Counted()
    same(cached("set", {}, [], compute), Counted()())
    assert compute.calls == 1


def test_an_error_while_decoding_passes_and_leaves_nothing(tmp_path):
    def fails():
        raise ValueError("bad file")

    with pytest.raises(ValueError, match="bad file"):
        cached("set", {}, [], fails)
    assert not (tmp_path / "cache").exists()


def test_the_cache_folder_is_the_users_unless_chosen(tmp_path, monkeypatch):
    assert cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("POLYVAE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert Path(cache_dir()).name == "polyvae"


def test_hashes_are_kept_while_a_file_keeps_its_size_and_time(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert known_hash(path, "md5") == file_hash(path, "md5") == "900150983cd24fb0d6963f7d28e17f72"
    assert known_hash(path, "sha256").startswith("ba7816bf")
    with monkeypatch.context() as patch:
        patch.setattr("polyvae.data.files.hashes.file_hash", lambda path, algorithm: pytest.fail("read again"))
        known_hash(path, "md5")
    path.write_bytes(b"abd")
    os.utime(path, ns=(5, 5))
    assert known_hash(path, "md5") == file_hash(path, "md5") != "900150983cd24fb0d6963f7d28e17f72"
    (tmp_path / "cache" / "hashes.json").write_text("scribble")
    assert known_hash(path, "md5") == file_hash(path, "md5")
