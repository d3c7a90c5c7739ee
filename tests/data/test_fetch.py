"""Fetching against a local server that serves well, breaks off, lies, stalls or fails."""

import hashlib
import io
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from helpers.archives import left_over, tar
from helpers.http_server import serving
from polyvae.data.errors import DataError
from polyvae.data.sources import fetch
from polyvae.data.sources.fetch import FileInfo, fetch_files, find, roots, target

BODY = random.Random(0).randbytes(200_000)
SIZE = len(BODY)
MD5 = f"md5:{hashlib.md5(BODY).hexdigest()}"


@pytest.fixture
def server():
    with serving({"a.bin": BODY}) as running:
        yield running


def described(server, *behaviours, hash=MD5, size=SIZE):
    return FileInfo("a.bin", hash, size, tuple(server.url(behaviour, "a.bin") for behaviour in behaviours))


@pytest.mark.parametrize("size", [None, SIZE])
@pytest.mark.parametrize("behaviour", ["good", "no_length", "slow"])
def test_a_whole_file_is_fetched_whether_or_not_its_length_is_told(server, tmp_path, behaviour, size):
    fetch_files([described(server, behaviour, size=size)], tmp_path / "set")
    assert (tmp_path / "set" / "a.bin").read_bytes() == BODY
    assert left_over(tmp_path / "set") == ["a.bin"]


@pytest.mark.parametrize("hash", [MD5, f"sha256:{hashlib.sha256(BODY).hexdigest()}"])
def test_either_kind_of_hash_is_checked(server, tmp_path, hash):
    fetch_files([described(server, "good", hash=hash)], tmp_path)
    with pytest.raises(DataError):
        fetch_files([described(server, "lies_in_content", hash=hash)], tmp_path / "other")


FAULTS = {
    "breaks_off": "broke off after 100000 of 200000 bytes",
    "breaks_off_unannounced": "broke off after 100000 of 200000 bytes",
    "lies_in_content": f"sent 200000 bytes with md5 {hashlib.md5(BODY[:-1] + bytes([BODY[-1] ^ 1])).hexdigest()}",
    "lies_in_length": "offers 199990 bytes instead of 200000",
    "endless": "sent more than 200000 bytes",
    "login_page": "offers 26 bytes instead of 200000",
    "stalls": "stalled",
    "stalls_before_answering": "stalled",
    "drips": "stalled",
    "not_found": "answered 404",
    "fails": "answered 500",
    "hangs_up": "failed",
}


@pytest.mark.parametrize("behaviour", FAULTS)
def test_a_bad_mirror_is_given_up_for_the_next_and_leaves_nothing(server, tmp_path, behaviour):
    began = time.monotonic()
    fetch_files([described(server, behaviour, "good")], tmp_path, timeout=1)
    assert time.monotonic() - began < 20
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert left_over(tmp_path) == ["a.bin"]
    assert server.requests == [f"/{behaviour}/a.bin", "/good/a.bin"]


@pytest.mark.parametrize(("behaviour", "fault"), FAULTS.items())
def test_when_no_mirror_serves_the_error_names_file_hash_fault_and_remedy(server, tmp_path, behaviour, fault):
    with pytest.raises(DataError) as error:
        fetch_files([described(server, behaviour)], tmp_path / "set", timeout=1)
    message = str(error.value)
    assert message.startswith(str(tmp_path / "set" / "a.bin"))
    assert MD5.replace(":", " ") in message
    assert server.url(behaviour, "a.bin") + " " + fault in message
    assert f"put the official file at {tmp_path / 'set' / 'a.bin'}" in message
    assert left_over(tmp_path / "set") == []


@pytest.mark.parametrize("behaviour", ["breaks_off", "breaks_off_unannounced", "lies_in_length", "login_page"])
def test_a_wrong_length_is_noticed_by_the_hash_where_no_size_is_known(server, tmp_path, behaviour):
    with pytest.raises(DataError, match=r"broke off|with md5"):
        fetch_files([described(server, behaviour, size=None)], tmp_path)
    assert left_over(tmp_path) == []


def test_no_network_gives_one_sentence_that_says_what_to_do(tmp_path):
    with socket.socket() as taken:  # bound, not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        file = FileInfo("a.bin", MD5, None, (f"http://{host}/a.bin", "http://no-such-host.invalid/a.bin"))
        with pytest.raises(DataError) as error:
            fetch_files([file], tmp_path)
    assert str(error.value) == (
        f"no network: a.bin cannot be fetched because {host}, no-such-host.invalid cannot be reached; "
        f"try again later, or put the official file at {tmp_path / 'a.bin'}"
    )


def test_what_is_there_is_neither_fetched_nor_touched(server, tmp_path):
    (tmp_path / "a.bin").write_bytes(b"the user's own, reduced file")
    fetch_files([described(server, "good")], tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == b"the user's own, reduced file"
    assert server.requests == []


@pytest.mark.parametrize("file", [FileInfo("a.bin"), FileInfo("a.bin", None, None, ("http://127.0.0.1:9/a.bin",))])
def test_a_file_without_address_or_hash_is_never_downloaded(tmp_path, file):
    assert not file.fetchable
    with pytest.raises(DataError, match="cannot be fetched"):
        fetch_files([file], tmp_path)


def test_progress_is_told_of_every_piece_up_to_the_whole(server, tmp_path):
    told = []
    fetch_files([described(server, "slow")], tmp_path, progress=lambda *what: told.append(what))
    assert told[-1] == ("a.bin", len(BODY), len(BODY))
    assert [received for _, received, _ in told] == sorted({received for _, received, _ in told})
    assert len(told) > 3


def test_a_bar_is_drawn_on_a_terminal_and_nothing_elsewhere(server, tmp_path, monkeypatch, capsys):
    fetch_files([described(server, "good")], tmp_path / "silent")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fetch_files([described(server, "good")], tmp_path / "bar")
    assert "a.bin" in capsys.readouterr().err


KILLED = """
import sys
from pathlib import Path
from polyvae.data.sources.fetch import FileInfo, fetch_files
fetch_files([FileInfo("a.bin", sys.argv[1], None, (sys.argv[2],))], Path(sys.argv[3]),
            progress=lambda name, received, total: print(received, flush=True))
"""


def test_a_killed_download_leaves_no_file_and_the_next_fetch_works_and_cleans_up(server, tmp_path):
    arguments = [sys.executable, "-c", KILLED, MD5, server.url("stalls", "a.bin"), str(tmp_path / "set")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=dict(os.environ)) as process:
        assert process.stdout is not None
        received = 0
        while received < len(BODY) // 2:
            received = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "set" / "a.bin").exists()
    assert len(list((tmp_path / "set").iterdir())) == 1  # the part folder of the dead process
    assert find("set", lambda folder: [path for path in [folder / "a.bin"] if path.exists()], tmp_path) is None
    fetch_files([described(server, "good")], tmp_path / "set")
    assert (tmp_path / "set" / "a.bin").read_bytes() == BODY
    assert left_over(tmp_path / "set") == ["a.bin"]


def test_a_download_under_way_in_another_process_is_not_swept_away(server, tmp_path):
    from polyvae.data.sources.unpack import part_folder

    with part_folder(tmp_path) as other:
        fetch_files([described(server, "good")], tmp_path)
        assert other.exists()


def from_archive(server, body, *names):
    server.files["all.tar.gz"] = body
    known = f"md5:{hashlib.md5(body).hexdigest()}"
    archive = FileInfo("all.tar.gz", known, len(body), (server.url("good", "all.tar.gz"),))
    return [FileInfo(name, archive=archive) for name in names]


def test_files_are_unpacked_from_one_download_and_the_archive_is_not_kept(server, tmp_path):
    files = from_archive(
        server, tar({"batches/1.bin": b"one", "batches/2.bin": b"two"}), "batches/1.bin", "batches/2.bin"
    )
    fetch_files(files, tmp_path)
    assert (tmp_path / "batches" / "1.bin").read_bytes() == b"one"
    assert left_over(tmp_path) == ["1.bin", "2.bin", "batches"]
    assert server.requests == ["/good/all.tar.gz"]


def test_a_lost_member_is_restored_and_the_others_stay_as_they_are(server, tmp_path):
    files = from_archive(
        server, tar({"batches/1.bin": b"one", "batches/2.bin": b"two"}), "batches/1.bin", "batches/2.bin"
    )
    (tmp_path / "batches").mkdir()
    (tmp_path / "batches" / "1.bin").write_bytes(b"mine")
    fetch_files(files, tmp_path)
    assert (tmp_path / "batches" / "1.bin").read_bytes() == b"mine"
    assert (tmp_path / "batches" / "2.bin").read_bytes() == b"two"


def test_an_archive_that_lacks_a_file_is_said_so(server, tmp_path):
    with pytest.raises(DataError, match=r"all\.tar\.gz: expected 2\.bin in it, found none"):
        fetch_files(from_archive(server, tar({"1.bin": b"one"}), "2.bin"), tmp_path)


def test_folders_are_searched_in_the_documented_order(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYVAE_DATA", str(tmp_path / "environment"))
    expected = [tmp_path / "given", tmp_path / "environment", tmp_path / "cache" / "data"]
    assert roots(tmp_path / "given") == expected

    def needs(folder):
        return [path for path in [folder / "a.bin"] if path.exists()]

    for root in reversed(expected):
        (root / "set").mkdir(parents=True)
        (root / "set" / "a.bin").write_bytes(b"")
        assert find("set", needs, tmp_path / "given") == root / "set"
    assert target("set", tmp_path / "given") == tmp_path / "given" / "set"


def test_a_download_goes_to_the_first_folder_that_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")  # a folder cannot be made below a file, whoever runs the test
    monkeypatch.setenv("POLYVAE_DATA", str(tmp_path / "file"))
    assert target("set") == tmp_path / "cache" / "data" / "set"
    monkeypatch.setenv("POLYVAE_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="a folder to write to"):
        target("set")


def test_the_bar_of_a_download_stays_on_one_line_of_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setattr(shown, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    with fetch._bar(None) as report:
        report("train-images-idx3-ubyte.gz", 123_456_789, 1_234_567_890)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue()).replace("\r", "\n").split("\n")
    assert any("train-images" in line for line in lines)
    assert all("train-images" in line for line in lines if line.strip())
