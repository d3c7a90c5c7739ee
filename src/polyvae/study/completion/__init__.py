"""The study of completion: pictures from a few of their pixels, by models, by baselines and as published."""
