"""Uses of a trained model: exact losses, samples, baselines and mixtures; also GPT-2's weights as a trained model."""
