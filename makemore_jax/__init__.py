"""makemore_jax: learn a model of the lines of a text file, and make more of them."""

__version__ = "0.1.0"
