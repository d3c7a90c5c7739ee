"""Where the files of a data set are found, and how they are fetched: mirror by mirror, whole and checked."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from polyvae.data.errors import DataError
from polyvae.data.files.cache import cache_dir
from polyvae.data.sources.unpack import part_folder, sweep, unpack

Progress = Callable[[str, int, int | None], None]  # name of the file, bytes received, bytes in all where known

TIMEOUT = 30.0  # seconds without a byte, or at less than SLOWEST, after which the next mirror is tried
SLOWEST = 1024  # bytes per second


@dataclass(frozen=True)
class FileInfo:
    """One file of an original distribution.

    `name`: its path below DIR/<data set>. `hash`: "md5:..." or "sha256:..." as published; without one the file is never
    downloaded. `size`: bytes. `urls`: addresses of the same file, the first one first. `archive`: what holds the file.
    """

    name: str
    hash: str | None = None
    size: int | None = None
    urls: tuple[str, ...] = ()
    archive: FileInfo | None = None

    @property
    def download(self) -> FileInfo:
        """What is downloaded to get this file: itself or its archive."""
        return self.archive or self

    @property
    def fetchable(self) -> bool:
        """Whether there is an address and a hash to check what comes from it."""
        return bool(self.download.urls and self.download.hash)


def roots(data_dir: str | Path | None = None) -> list[Path]:
    """Folders that are searched for DIR/<data set>, in order: `data_dir`, $POLYVAE_DATA, the user's cache."""
    chosen = [data_dir, os.environ.get("POLYVAE_DATA"), cache_dir() / "data"]
    return list(dict.fromkeys(Path(root).expanduser() for root in chosen if root))


def find(name: str, needs: Callable[[Path], Sequence[Path]], data_dir: str | Path | None = None) -> Path | None:
    """The first folder DIR/<name> in which `needs` finds the files it reads; None where there is none."""
    return next((root / name for root in roots(data_dir) if needs(root / name)), None)


def target(name: str, data_dir: str | Path | None = None) -> Path:
    """The folder DIR/<name> that a download goes to: in the first of `roots` that can be written."""
    for root in roots(data_dir):
        try:
            (root / name).mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(root / name, os.W_OK):
            return root / name
    tried = ", ".join(map(str, roots(data_dir)))
    raise DataError(name, "a folder to write to", f"none among {tried}", "give --data-dir or set POLYVAE_DATA")


def fetch_files(
    files: Iterable[FileInfo], folder: Path, timeout: float = TIMEOUT, progress: Progress | None = None
) -> None:
    """Download what is missing of `files` into `folder`; files that are there are never touched.

    Every download is checked against its hash before it gets its name. A mirror that cannot be reached, answers an
    error, breaks off, stalls for `timeout` seconds or sends something else is given up for the next. `progress` is told
    of every piece; without it a bar is shown on a terminal. Raises `DataError` when no mirror has the file.
    """
    missing = [file for file in files if not (folder / file.name).exists()]
    for file in missing:
        if not file.fetchable:
            raise DataError(folder / file.name, "a file that is put there by hand", "none", "it cannot be fetched")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        with _bar(progress) as report:
            for file in dict.fromkeys(file.download for file in missing):
                with part_folder(folder) as part:
                    path = _download(file, part, folder, timeout, report)
                    _place(path, folder, file, unpacked=any(each.archive == file for each in missing))
    except DataError:
        raise
    except OSError as error:
        advice = "make room, or choose another --data-dir"
        raise DataError(folder, "a folder with room to write", str(error), advice) from error
    for file in missing:
        if not (folder / file.name).exists():
            raise DataError(folder / file.download.name, f"{file.name} in it", "none", "report this to polyvae")


def _place(path: Path, folder: Path, file: FileInfo, unpacked: bool) -> None:
    if unpacked:
        unpack(path, folder)
    else:
        final = folder / file.name
        final.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, final)


def _download(file: FileInfo, part: Path, folder: Path, timeout: float, report: Progress) -> Path:
    """The file, whole and checked, in `part`."""
    failures: list[_Failure] = []
    for url in file.urls:
        outcome = _attempt(url, file, part, _Downloader(file, timeout, report))
        if isinstance(outcome, Path):
            return outcome
        failures.append(outcome)
    by_hand = f"try again later, or put the official file at {folder / file.name}"
    if all(failure.unreachable for failure in failures):
        hosts = ", ".join(dict.fromkeys(urlsplit(url).netloc for url in file.urls))
        raise DataError(f"no network: {file.name} cannot be fetched because {hosts} cannot be reached; {by_hand}")
    wanted = f"a file with {(file.hash or '').replace(':', ' ')}"
    found = "; ".join(failure.reason for failure in failures)
    raise DataError(folder / file.name, wanted, found, f"nothing was kept; {by_hand}")


@dataclass(frozen=True)
class _Failure:
    reason: str
    unreachable: bool = False


def _attempt(url: str, file: FileInfo, part: Path, downloader: Any) -> Path | _Failure:
    import pooch
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # its own notes would tear the progress bar
    try:
        return Path(pooch.retrieve(url, file.hash, Path(file.name).name, part, downloader=downloader))
    except _Refused as error:
        return _Failure(f"{url} {error}")
    except (RequestException, HTTPError) as error:
        if "timed out" in str(error).lower():
            return _Failure(f"{url} stalled: nothing for {downloader.timeout:g} s", _unreachable(error))
        return _Failure(f"{url} failed ({type(error).__name__})", _unreachable(error))
    finally:
        logger.setLevel(level)


def _broken_off(received: int, total: int | None) -> _Refused:
    return _Refused(f"broke off after {received} of {total or 'unknown'} bytes")


class _Refused(Exception):
    """What a mirror sent is not the file."""


class _Downloader:
    """Writes one address to a file and hashes on the way; the form in which pooch takes a downloader."""

    def __init__(self, file: FileInfo, timeout: float, report: Progress) -> None:
        self.file, self.timeout, self.report = file, timeout, report

    def __call__(self, url: str, output_file: str, pooch: object, check_only: bool = False) -> None:
        import requests

        # Uncompressed, because a server that packs on the way would make length and hash those of something else.
        headers = {"Accept-Encoding": "identity", "User-Agent": "polyvae"}
        with requests.get(url, stream=True, timeout=self.timeout, headers=headers) as response:
            if response.status_code != 200:
                raise _Refused(f"answered {response.status_code} {response.reason}")
            stated = response.headers.get("Content-Length", "")
            length = int(stated) if stated.isdigit() else None
            size = self.file.size
            if None not in (size, length) and length != size:
                raise _Refused(f"offers {length} bytes instead of {size}")
            with open(output_file, "wb") as output:
                self._copy(response, output, size or length)
                os.fsync(output.fileno())

    def _read(self, response: Any, received: int, total: int | None) -> bytes:
        """What has come: all of it at once would hide a server that drips. Older urllib3 has no read1."""
        from urllib3.exceptions import ProtocolError

        try:
            return getattr(response.raw, "read1", response.raw.read)(2**16)
        except ProtocolError as error:
            raise _broken_off(received, total) from error

    def _copy(self, response: Any, output: IO[bytes], total: int | None) -> None:
        algorithm, _, expected = (self.file.hash or "").partition(":")
        digest, received = hashlib.new(algorithm), 0
        since, at_start = time.monotonic(), 0
        while piece := self._read(response, received, total):
            output.write(piece)
            digest.update(piece)
            received += len(piece)
            self.report(self.file.name, received, total)
            if total is not None and received > total:
                raise _Refused(f"sent more than {total} bytes")
            if (now := time.monotonic()) - since > self.timeout:
                if received - at_start < SLOWEST * self.timeout:
                    raise _Refused(f"stalled: {received - at_start} bytes in {self.timeout:g} s")
                since, at_start = now, received
        output.flush()
        if total is not None and received < total:
            raise _broken_off(received, total)
        if digest.hexdigest() != expected:
            raise _Refused(f"sent {received} bytes with {algorithm} {digest.hexdigest()}")


def _unreachable(error: Exception) -> bool:
    """Whether no connection was made at all: no such host, no route, nobody listening."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    cause = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(cause, (NewConnectionError, ConnectTimeoutError))


@contextmanager
def _bar(progress: Progress | None) -> Iterator[Progress]:
    """What pieces are reported to: the caller's function, a bar on a terminal, or nothing."""
    if progress is not None or not sys.stderr.isatty():
        yield progress or (lambda name, received, total: None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    rate = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Bars(TextColumn("{task.description}"), BarColumn(), *rate, console=Console(stderr=True)) as bars:
        tasks: dict[str, int] = {}

        def report(name: str, received: int, total: int | None) -> None:
            task = tasks.setdefault(name, -1)
            if task < 0:
                task = tasks[name] = bars.add_task(name, total=total)
            bars.update(task, completed=received, total=total)  # type: ignore[arg-type]

        yield report
