"""Data of several modalities: pairs by class, modalities that rows lack, a user's own values and columns."""
