"""Readers of a user's data: `paths` for files and folders, `arrays` for values in Python; all return arrays by name."""
