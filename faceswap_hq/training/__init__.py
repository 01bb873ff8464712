"""Training of the autoencoder: data, augmentation, losses, checkpoints, loop, previews."""
