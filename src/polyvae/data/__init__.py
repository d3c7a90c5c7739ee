"""Data sets as named tensors: loaded by name or path, cut by seed, batched by index on their device."""

from polyvae.data.errors import DataError, DataNote
from polyvae.data.loading import load
from polyvae.data.sources import CATALOGUE
from polyvae.data.sources.listing import Entry, catalogue, fetch
from polyvae.data.split import Data, Split, wrap


def names() -> list[str]:
    """What `load` knows by name."""
    return list(CATALOGUE)


__all__ = [
    "Data",
    "DataError",
    "DataNote",
    "Entry",
    "Split",
    "catalogue",
    "fetch",
    "load",
    "names",
    "wrap",
]
