"""The commands of the project: python -m experiments.NAME --help."""

import os

# Figures are written to files and need no backend; an unknown one would keep matplotlib from being imported.
os.environ.pop("MPLBACKEND", None)
