"""The study of several modalities: what models make of one out of others, beside baselines and published values."""
