"""The page of experiments.explore: the values that it shows, the server, and the page's own files."""
