"""Where the files of a data set are found, and how they are downloaded: mirror by mirror, complete and checked."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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

    `name`: its path below DIR/<data set>. `hash`: "md5:..." or "sha256:..." as published; a file without one is never
    downloaded. `size`: bytes. `urls`: mirrors, in the order to try. `archive`: the archive that holds the file.
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


def mirrored(known: Mapping[str, tuple[str, int]], mirrors: Sequence[str]) -> tuple[FileInfo, ...]:
    """The files `known` by name, each with its hash and size, at addresses that begin with one of the `mirrors`."""
    return tuple(FileInfo(name, *told, tuple(mirror + name for mirror in mirrors)) for name, told in known.items())


def roots(data_dir: str | Path | None = None) -> list[Path]:
    """Folders that are searched for DIR/<data set>, in order: `data_dir`, $POLYVAE_DATA, the user's cache."""
    chosen = [data_dir, os.environ.get("POLYVAE_DATA"), cache_dir() / "data"]
    return list(dict.fromkeys(Path(root).expanduser() for root in chosen if root))


def find(name: str, needs: Callable[[Path], Sequence[Path]], data_dir: str | Path | None = None) -> Path | None:
    """The first folder DIR/<name> in which `needs` finds the files it reads; None where there is none."""
    return next((root / name for root in roots(data_dir) if needs(root / name)), None)


def target(name: str, data_dir: str | Path | None = None) -> Path:
    """The folder DIR/<name> to download to: in the first of `roots` that is writable."""
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
    """Downloads the missing ones of `files` into `folder`; existing files are never touched.

    Every download is checked against its hash before it gets its name. If a mirror cannot be reached, answers an error,
    breaks off, stalls for `timeout` seconds or sends something else, the next is tried. `progress` is called for every
    piece; without it, a terminal shows a bar. Raises `DataError` if no mirror has the file.
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
                    path = _download(file, part / Path(file.name).name, folder, timeout, report)
                    if any(each.archive == file for each in missing):
                        unpack(path, folder)
                    else:
                        (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
                        os.replace(path, folder / file.name)
    except DataError:
        raise
    except OSError as error:
        advice = "make room, or choose another --data-dir"
        raise DataError(folder, "a folder with room to write", str(error), advice) from error
    for file in missing:
        if not (folder / file.name).exists():
            raise DataError(folder / file.download.name, f"{file.name} in it", "none", "report this to polyvae")


class _Refused(Exception):
    """What is wrong with a mirror, or with what it sent; `unreachable`: there was no connection at all."""

    def __init__(self, reason: str, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.unreachable = unreachable


def _download(file: FileInfo, path: Path, folder: Path, timeout: float, report: Progress) -> Path:
    """The file, whole and checked, at `path`, from the first mirror that has it."""
    failures: list[_Refused] = []
    for url in file.urls:
        try:
            with path.open("wb") as output:
                _copy(url, _Watched(output, file, timeout, report))
                os.fsync(output.fileno())
            return path
        except _Refused as error:
            failures.append(_Refused(f"{url} {error}", error.unreachable))
    by_hand = f"try again later, or put the official file at {folder / file.name}"
    if all(failure.unreachable for failure in failures):
        hosts = ", ".join(dict.fromkeys(urlsplit(url).netloc for url in file.urls))
        raise DataError(f"no network: {file.name} cannot be fetched because {hosts} cannot be reached; {by_hand}")
    wanted = f"a file with {(file.hash or '').replace(':', ' ')}"
    raise DataError(folder / file.name, wanted, "; ".join(map(str, failures)), f"nothing was kept; {by_hand}")


def _copy(url: str, output: _Watched) -> None:
    """Copies one address to `output`; raises _Refused for whatever a mirror does wrong."""
    import pooch
    from requests.exceptions import ChunkedEncodingError, HTTPError, RequestException

    # Uncompressed, because a server that packs on the way would make length and hash those of something else.
    headers = {"Accept-Encoding": "identity", "User-Agent": "polyvae"}
    hooks = {"response": output.announced}
    try:
        pooch.HTTPDownloader(chunk_size=2**16, timeout=output.timeout, headers=headers, hooks=hooks)(url, output, None)
    except HTTPError as error:
        raise _Refused(f"answered {output.response.status_code} {output.response.reason}") from error
    except ChunkedEncodingError as error:
        raise output.broken_off() from error
    except RequestException as error:
        stalled = "timed out" in str(error).lower()
        reason = f"stalled: nothing for {output.timeout:g} s" if stalled else f"failed ({type(error).__name__})"
        raise _Refused(reason, _unreachable(error)) from error
    finally:
        if output.response is not None:  # which pooch leaves open
            output.response.close()
    output.check_whole()


class _Watched:
    """The file being written: counts what arrives, and refuses too much, too slow, or wrong contents."""

    def __init__(self, file: IO[bytes], info: FileInfo, timeout: float, report: Progress) -> None:
        self.file, self.info, self.timeout, self.report = file, info, timeout, report
        self.total, self.received = info.size, 0
        self.response: Any = None
        self.since, self.at_start = time.monotonic(), 0
        algorithm, _, self.expected = (info.hash or "").partition(":")
        self.digest = hashlib.new(algorithm)

    def announced(self, response: Any, **_: Any) -> None:
        """Checks the headers of an answer."""
        self.response = response
        stated = response.headers.get("Content-Length", "")
        if response.status_code == 200 and stated.isdigit():
            if self.info.size not in (None, int(stated)):
                raise _Refused(f"offers {stated} bytes instead of {self.info.size}")
            self.total = int(stated)
        # What has come: a read that waits for a whole piece would hide a server that drips. Older urllib3 has no read1.
        response.raw.read = getattr(response.raw, "read1", response.raw.read)

    def write(self, piece: bytes) -> None:
        self.file.write(piece)
        self.digest.update(piece)
        self.received += len(piece)
        self.report(self.info.name, self.received, self.total)
        if self.total is not None and self.received > self.total:
            raise _Refused(f"sent more than {self.total} bytes")
        if (now := time.monotonic()) - self.since > self.timeout:
            if (came := self.received - self.at_start) < SLOWEST * self.timeout:
                raise _Refused(f"stalled: {came} bytes in {self.timeout:g} s")
            self.since, self.at_start = now, self.received

    def flush(self) -> None:
        """Does nothing: `check_whole` flushes."""

    def broken_off(self) -> _Refused:
        return _Refused(f"broke off after {self.received} of {self.total or 'unknown'} bytes")

    def check_whole(self) -> None:
        self.file.flush()
        if self.total is not None and self.received < self.total:
            raise self.broken_off()
        if self.digest.hexdigest() != self.expected:
            raise _Refused(f"sent {self.received} bytes with {self.digest.name} {self.digest.hexdigest()}")


def _unreachable(error: Exception) -> bool:
    """Whether there was no connection at all: no such host, no route, nobody listening."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    cause = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(cause, (NewConnectionError, ConnectTimeoutError))


@contextmanager
def _bar(progress: Progress | None) -> Iterator[Progress]:
    """What is called for every piece: the caller's function, a bar on a terminal, or nothing."""
    if progress is not None or not sys.stderr.isatty():
        yield progress or (lambda name, received, total: None)
        return
    from rich.progress import DownloadColumn, TransferSpeedColumn
    from rich.table import Column

    from polyvae.data.bars import bar

    # Not wrapped: "1.2 GB" would be broken in two where there is little room.
    columns = (kind(table_column=Column(no_wrap=True)) for kind in (DownloadColumn, TransferSpeedColumn))
    with bar("{task.description}", *columns) as bars:
        tasks: dict[str, int] = {}

        def report(name: str, received: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=received, total=total)  # type: ignore[arg-type]

        yield report
