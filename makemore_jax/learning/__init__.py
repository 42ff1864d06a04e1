"""Gradient descent: the objective, functions of it, and a training run as two pure functions."""
