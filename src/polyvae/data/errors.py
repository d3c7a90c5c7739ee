"""The data package's one error, which names the file, what was expected and found, what to do; and its notes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

AGAIN = "delete the file and fetch it again"  # what to do with a published file that is not whole


class DataError(ValueError):
    """Data that cannot be used: `file: expected ..., found ...; advice`; `file` alone is a whole message."""

    def __init__(self, file: str | Path, expected: str = "", found: str = "", advice: str = "") -> None:
        self.file, self.expected, self.found, self.advice = str(file), expected, found, advice
        clauses = [f"expected {expected}" if expected else "", f"found {found}" if found else ""]
        message = ": ".join(part for part in (self.file, ", ".join(clause for clause in clauses if clause)) if part)
        super().__init__(f"{message}; {advice}" if advice else message)

    def __reduce__(self) -> tuple:
        # Raised in a worker process, the error must survive the way back.
        return DataError, (self.file, self.expected, self.found, self.advice)


class DataNote(UserWarning):
    """A remark about data that were read: what was left out, how they were split."""


@contextmanager
def reading(file: str | Path, expected: str, advice: str, *errors: type[Exception]) -> Iterator[None]:
    """Turns the `errors` that a library raises on a bad file into a DataError that names the file.

    A missing file, a folder in its place and a file that may not be read have messages of their own.
    """
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(file, expected, "no such file", "check the path, or fetch the data set") from error
    except (IsADirectoryError, PermissionError) as error:
        raise DataError(file, expected, f"{error.strerror or error}", "check the path and its permissions") from error
    except errors as error:
        # NumPy takes whatever it does not know for a pickle, and tells how to load one.
        pickled = "allow_pickle" in str(error)
        said = f"{type(error).__name__}: {error}"
        found = "something else, or pickled objects, which are never read" if pickled else said
        raise DataError(file, expected, found, advice) from error
