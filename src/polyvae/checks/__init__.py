"""What a user gives is what was asked for: names, ranges, finite numbers. Nothing here imports torch."""
