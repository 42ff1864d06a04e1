"""Models: their interface, the layers and the likelihood that they share, a file for each, and a table of all by name."""
