"""Settings that refuse what they cannot be."""

from __future__ import annotations

from collections.abc import Mapping


def require(settings: object, checks: Mapping[str, bool], *, otherwise: str = "is not possible") -> None:
    """Refuse settings of which a check failed.

    Args:
        settings: What has the attributes.
        checks: Name of an attribute -> whether it is fine.
        otherwise: What is said of one that is not.

    Raises:
        ValueError: The first that is not, with its value.
    """
    for name, fine in checks.items():
        if not fine:
            raise ValueError(f"{name} = {getattr(settings, name)!r} {otherwise}")
