"""Estimate whether a model would train on machines that you do not have."""
