"""What the columns of a table hold: their `roles`, `kinds`, `categories`, `gaps` and what `rounding` loses of them."""
