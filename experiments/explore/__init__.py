"""The page of experiments.explore: what it shows as values, what serves it, and the files that it is made of."""
