"""The study that compares recipes: the same networks and budget, one table beside published numbers."""
