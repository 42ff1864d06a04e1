"""What there is to learn about a model: figures, influence, data whose entropy is known."""
