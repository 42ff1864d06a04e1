"""What there is to learn about a model: what a prediction depends on, data whose entropy is known, figures."""
