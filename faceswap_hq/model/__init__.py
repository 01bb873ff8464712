"""The autoencoder: nn.Modules only, no files, no printing."""

from faceswap_hq.model.autoencoder import ModelSettings, SwapAutoencoder

__all__ = ["ModelSettings", "SwapAutoencoder"]
