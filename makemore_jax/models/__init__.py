"""Models: their interface, the layers and the likelihood that they share, one file each, and a table of all by name."""
