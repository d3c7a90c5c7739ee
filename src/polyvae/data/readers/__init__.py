"""Readers: files, folders, frames and arrays become arrays by name."""
