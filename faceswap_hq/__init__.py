"""Face-swap autoencoder for detector research: extract, train, render, curate."""

__version__ = "0.1.0.dev0"
