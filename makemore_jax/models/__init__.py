"""The interface that every model has, and the models: one file each."""
