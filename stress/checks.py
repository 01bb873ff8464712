"""Settings that refuse what they cannot be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def require(
    settings: object,
    checks: Mapping[str, bool],
    *,
    otherwise: str = "is not possible",
    known: Mapping[str, Iterable[str]] | None = None,
) -> None:
    """Refuse settings of which a check failed.

    Args:
        settings: What has the attributes.
        checks: Name of an attribute -> whether it is fine.
        otherwise: What is said of one that is not.
        known: Name of an attribute -> what there is to choose from, which is said too.

    Raises:
        ValueError: The first that is not, with its value.
    """
    for name, fine in checks.items():
        if not fine:
            choices = ", ".join((known or {}).get(name, ()))
            more = f"; known: {choices}" if choices else ""
            raise ValueError(f"{name} = {getattr(settings, name)!r} {otherwise}{more}")
