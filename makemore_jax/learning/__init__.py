"""Gradient descent: the objective, its transforms, a run as two pure functions, and the loop over them.

Fine-tuning and sweeps are built from these.
"""
