"""Numbers: formulas, optimizers, normalization, noise and random draws, for NumPy and JAX alike."""
