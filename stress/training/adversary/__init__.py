"""Who plays against the detector: the pixel-wise blur, the networks that predict its widths, attacks by gradient."""
