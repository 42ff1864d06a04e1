"""Gradient descent: the objective, functions of it, a run as two pure functions, and the loop over them.

Then what is built of these: fine-tuning and sweeps.
"""
