"""The catalogue as a listing: hash states, what is fetched from where, and how to get the rest."""

import hashlib
import re
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers import format_files
from helpers.http_server import serving
from polyvae import data
from polyvae.data import DataError
from polyvae.data.sources import CATALOGUE
from polyvae.data.sources.fetch import FileInfo


def test_the_catalogue_is_consistent():
    for name, source in CATALOGUE.items():
        assert source.name == name == name.lower()
        assert source.about.licence
        assert source.generated or source.fetchable or source.about.how
        for file in {each.download for each in source.files} | set(source.files):
            assert file.hash is None or re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", file.hash)
            assert all(url.startswith(("https://", "http://")) for url in file.urls)
    assert sorted(data.names()) == sorted(CATALOGUE)
    unfetchable = {name for name, source in CATALOGUE.items() if not source.fetchable}
    generated = {"sprites", "digits", "shapes", "vortices", "turbulence", "quadratic", "circle", "arm", "two_joints"}
    assert unfetchable == {"celeba", "frey_faces", "cylinder_flow", "polymnist"} | generated


def with_files(monkeypatch, name, folder, url=None):
    """Let the catalogue take the files in `folder` for the official ones, at the addresses url(name)."""
    files = tuple(
        FileInfo(file.name, f"md5:{hashlib.md5((folder / file.name).read_bytes()).hexdigest()}", None, url(file.name))
        for file in CATALOGUE[name].files
    )
    monkeypatch.setitem(CATALOGUE, name, replace(CATALOGUE[name], files=files))
    return files


def entry_of(name, data_dir=None):
    return next(entry for entry in data.catalogue(data_dir) if entry.name == name)


def test_the_listing_tells_official_from_changed_absent_and_unchecked(tmp_path, monkeypatch):
    folder = tmp_path / "data" / "mnist"
    absent = entry_of("mnist")
    assert (absent.present, absent.where, absent.state, absent.fetchable) == (False, None, "absent", True)
    assert absent.size == 11_594_722
    assert absent.how == "run `polyvae datasets fetch mnist`"
    format_files.mnist(folder)
    found = entry_of("mnist")
    assert (found.present, found.where, found.state) == (True, folder, "differs")
    assert found.size == sum(path.stat().st_size for path in folder.iterdir())
    assert (found.licence, found.shape, found.counts) == (
        "CC BY-SA 3.0", (1, 28, 28), {"train": 60_000, "test": 10_000},
    )  # fmt: skip
    with_files(monkeypatch, "mnist", folder, lambda name: ())
    assert entry_of("mnist").state == "official"
    path = folder / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes() + b"\0")
    assert entry_of("mnist").state == "differs"
    format_files.frey_faces(tmp_path / "data" / "frey_faces" / "frey_faces_u8.npz")
    assert entry_of("frey_faces").state == "unchecked"
    assert [entry_of(name).state for name in ("digits", "shapes")] == ["unchecked"] * 2
    assert all(entry_of(name).present for name in ("digits", "shapes", "sprites"))
    format_files.celeba(tmp_path / "data" / "celeba", count=12)
    assert entry_of("celeba").state == "differs"
    assert "mmlab" in entry_of("celeba").how


def test_hashes_in_the_listing_are_computed_once(tmp_path, monkeypatch):
    folder = tmp_path / "data" / "mnist"
    format_files.mnist(folder)
    with_files(monkeypatch, "mnist", folder, lambda name: ())
    assert entry_of("mnist").state == "official"
    monkeypatch.setattr("polyvae.data.files.hashes.file_hash", lambda path, algorithm: pytest.fail("read again"))
    assert entry_of("mnist").state == "official"


def test_a_missing_set_is_fetched_once_from_its_mirrors_and_then_found(tmp_path, monkeypatch):
    official = tmp_path / "official"
    written = format_files.mnist(official)
    with serving({path.name: path.read_bytes() for path in official.iterdir()}) as server:
        with_files(monkeypatch, "mnist", official, lambda name: (server.url("fails", name), server.url("good", name)))
        np.testing.assert_array_equal(data.load("mnist").test.tensors["x"][:, 0], written["test_x"])
        assert len(server.requests) == 8
        assert data.fetch("mnist") == tmp_path / "data" / "mnist"
        data.load("mnist")
        assert len(server.requests) == 8
        assert data.fetch("mnist", tmp_path / "elsewhere") == tmp_path / "data" / "mnist"
    assert entry_of("mnist").state == "official"


def test_cifar10_is_fetched_as_one_archive(tmp_path, monkeypatch):
    written = format_files.cifar10(tmp_path / "official")
    with tarfile.open(tmp_path / "cifar.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "official" / "cifar-10-batches-bin", "cifar-10-batches-bin")
    body = (tmp_path / "cifar.tar.gz").read_bytes()
    told = []
    with serving({"cifar.tar.gz": body}) as server:
        known = f"md5:{hashlib.md5(body).hexdigest()}"
        archive = FileInfo("cifar-10-binary.tar.gz", known, len(body), (server.url("good", "cifar.tar.gz"),))
        files = tuple(replace(file, archive=archive) for file in CATALOGUE["cifar10"].files)
        monkeypatch.setitem(CATALOGUE, "cifar10", replace(CATALOGUE["cifar10"], files=files))
        folder = data.fetch("cifar10", tmp_path / "here", lambda *what: told.append(what))
    assert told[-1] == ("cifar-10-binary.tar.gz", len(body), len(body))
    assert folder == tmp_path / "here" / "cifar10"
    np.testing.assert_array_equal(data.load("cifar10", tmp_path / "here").test.tensors["x"], written["test_x"])


def test_what_cannot_be_fetched_says_how_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"celeba: .*mmlab.*DIR/celeba"):
        data.fetch("celeba")
    with pytest.raises(DataError, match=r"celeba: expected its files in .*mmlab"):
        data.load("celeba")
    with pytest.raises(DataError, match=r"mnist: expected its files in .*polyvae datasets fetch mnist"):
        data.load("mnist", download=False)
    with pytest.raises(DataError, match="nothing to fetch"):
        data.fetch("shapes")
    with pytest.raises(DataError, match="did you mean 'mnist'"):
        data.fetch("mnits")


def test_importing_the_package_imports_no_heavy_library():
    heavy = {
        "torchmetrics",
        "lightning",
        "matplotlib",
        "scipy",
        "sklearn",
        "PIL",
        "pooch",
        "requests",
        "rich",
        "pandas",
    }
    script = "import sys, polyvae.data; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not heavy & set(loaded)


def test_how_names_the_folder_for_what_is_put_there_by_hand():
    assert CATALOGUE["frey_faces"].how.endswith("put what you get into DIR/frey_faces")
    assert isinstance(entry_of("mnist").source.files[0], FileInfo)
    assert Path(CATALOGUE["cifar10"].files[0].name).parent == Path("cifar-10-batches-bin")
