"""Compression: pictures and arrays into real bytes by bits-back coding, and back into the same files."""

from polyvae.compression.archive import Archive, read_archive
from polyvae.compression.chain import Chain
from polyvae.compression.packing import Compressed, compress, decompress
from polyvae.compression.stack import Stack

__all__ = ["Archive", "Chain", "Compressed", "Stack", "compress", "decompress", "read_archive"]
