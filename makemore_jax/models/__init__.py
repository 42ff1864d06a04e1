"""What a model is, the layers and the likelihood that models share, one file for each model, all of them by name."""
