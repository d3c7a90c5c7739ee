"""The columns of a table: their `roles`, `kinds`, `categories`, missing cells (`gaps`), and losses by `rounding`."""
