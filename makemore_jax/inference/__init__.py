"""What a trained model is for: exact losses, samples, scores, mixtures."""
