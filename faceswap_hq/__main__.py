"""``python -m faceswap_hq``."""

from faceswap_hq.cli import main

main()
