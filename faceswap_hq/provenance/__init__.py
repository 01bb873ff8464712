"""Content credentials (C2PA): every file that the toolkit makes says what it is, and can be checked later.

* :func:`sign_video` and :func:`sign_image` put the credentials into a file and move it to its final place; there is no
  way to get the final file without them.
* :func:`verify` reads them back from any file, :func:`describe` puts the result into words.
* :func:`load_key` gives the signing key: the user's, or one made on first use.

Credentials live in the file's metadata only, never in its pixels, so that no detector can learn them.
"""

from faceswap_hq.provenance.keys import SigningKey, load_key
from faceswap_hq.provenance.signing import Claim, sidecar_path, sign_image, sign_video
from faceswap_hq.provenance.verifying import Ingredient, Verification, describe, verify

__all__ = [
    "Claim",
    "Ingredient",
    "SigningKey",
    "Verification",
    "describe",
    "load_key",
    "sidecar_path",
    "sign_image",
    "sign_video",
    "verify",
]
