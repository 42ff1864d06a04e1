"""The first lecture, from counts to gradient descent."""
