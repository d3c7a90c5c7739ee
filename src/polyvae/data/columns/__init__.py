"""What the columns of a table hold: kinds, categories, labels, gaps."""
