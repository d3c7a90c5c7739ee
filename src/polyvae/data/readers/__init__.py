"""Readers of what a user has: arrays by name come out, of files by `paths`, of values in Python by `arrays`."""
