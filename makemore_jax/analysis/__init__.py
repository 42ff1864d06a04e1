"""Tools to study models: the influence of symbols on predictions, sources of known entropy, power laws, figures."""
