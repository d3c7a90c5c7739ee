"""Files that survive a kill: `writing` (old or new, never part), `sealed` (with a digest); `cache` and `hashes`."""
