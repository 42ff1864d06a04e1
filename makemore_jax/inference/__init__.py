"""What a trained model is for: exact losses, samples, baselines to beat, mixtures; and GPT-2's weights as one."""
