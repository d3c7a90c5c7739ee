"""Archives that lead outside, are damaged or are none."""

import random
import tarfile
import zipfile
from pathlib import Path

import pytest

from helpers.archives import left_over, link, tar, zipped
from polyvae.data.errors import DataError
from polyvae.data.sources.unpack import unpack

BODY = random.Random(0).randbytes(200_000)


UNSAFE = {
    "tar parent": tar({"../out.bin": b"x"}),
    "tar inner parent": tar({"a/../../out.bin": b"x"}),
    "tar absolute": tar({"/tmp/polyvae-out.bin": b"x"}),
    "tar symbolic link": tar({"a": link("a", "/etc/passwd")}),
    "tar hard link": tar({"a": link("a", "b", tarfile.LNKTYPE)}),
    "tar device": tar({"a": link("a", "", tarfile.CHRTYPE)}),
    "zip parent": zipped({"../out.bin": b"x"}),
    "zip backslashes": zipped({"..\\out.bin": b"x"}),
    "zip absolute": zipped({"/tmp/polyvae-out.bin": b"x"}),
    "zip drive": zipped({"C:\\out.bin": b"x"}),
}


@pytest.mark.parametrize("kind", UNSAFE)
def test_an_archive_that_leads_outside_is_refused_and_nothing_is_written(tmp_path, kind):
    archive = tmp_path / "bad.archive"
    archive.write_bytes(UNSAFE[kind])
    with pytest.raises(DataError, match=r"bad\.archive: expected plain files below its own folder"):
        unpack(archive, tmp_path / "inside")
    assert left_over(tmp_path) == ["bad.archive", "inside"]
    assert not Path("/tmp/polyvae-out.bin").exists()


def test_a_symbolic_link_in_a_zip_is_refused(tmp_path):
    info = zipfile.ZipInfo("a")
    info.external_attr = 0o120777 << 16
    (tmp_path / "bad.zip").write_bytes(zipped({info: "/etc/passwd"}))
    with pytest.raises(DataError, match=r"bad\.zip"):
        unpack(tmp_path / "bad.zip", tmp_path / "inside")


@pytest.mark.parametrize("body", [b"", b"no archive", tar({"a": BODY})[:-50_000], zipped({"a": BODY})[:-10]])
def test_a_damaged_archive_is_named(tmp_path, body):
    (tmp_path / "bad.archive").write_bytes(body)
    with pytest.raises(DataError, match=r"bad\.archive.*fetch it again"):
        unpack(tmp_path / "bad.archive", tmp_path / "inside")
    assert left_over(tmp_path / "inside") == []


def test_a_flipped_byte_in_a_zip_is_noticed(tmp_path):
    body = bytearray(zipped({"a": BODY}))
    body[1000] ^= 1
    (tmp_path / "bad.zip").write_bytes(body)
    with pytest.raises(DataError, match="damaged"):
        unpack(tmp_path / "bad.zip", tmp_path / "inside")
