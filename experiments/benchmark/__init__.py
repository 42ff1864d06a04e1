"""Speeds as ratios, measured side by side: contestants take turns, and medians are compared."""
