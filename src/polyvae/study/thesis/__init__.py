"""The study of multitask autoencoders: its grid, runs, tables, claims and report."""
