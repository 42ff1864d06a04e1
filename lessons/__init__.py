"""What the lessons share, and their checks; in a wheel this folder is `makemore_jax.lessons`."""
