"""Files that a kill leaves whole: `writing` beside and renaming, `sealed` by a digest, in the `cache`; `hashes`."""
