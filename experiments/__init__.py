"""What a person runs: python -m experiments.NAME --help."""

import os

# Figures go into files and need no backend; with one that it does not know, matplotlib cannot be imported.
os.environ.pop("MPLBACKEND", None)
