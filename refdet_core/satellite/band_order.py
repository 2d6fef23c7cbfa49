"""Which band of a file is which band of the network."""

from __future__ import annotations

from typing import List, Optional, Sequence

from refdet_core.errors import SourceError

_ALIASES = {
    "b": "blue",
    "g": "green",
    "r": "red",
    "n": "nir",
    "near infrared": "nir",
    "near-infrared": "nir",
    "infrared": "nir",
}


def parse_bands(text: str) -> List[str]:
    """``red,green,blue,nir`` as a list of names, in lower case; short names are spelt out."""
    return [plain_name(part) for part in text.split(",") if part.strip()]


def plain_name(name: Optional[str]) -> str:
    """A band's name as it is compared: lower case, short names spelt out; empty for None."""
    short = (name or "").strip().lower()
    return _ALIASES.get(short, short)


def match_bands(
    wanted: Sequence[str], said: Sequence[str], own: Sequence[str], count: int, what: str
) -> List[int]:
    """Numbers, from 1, of the file's bands in the network's order.

    Args:
        wanted: the network's bands.
        said: what the user says of the file's order; empty: nothing.
        own: what the file says of its bands, empty names where it says nothing. If it leaves one
            band without a name and the network one without a band, they belong together.
        count: bands of the file.
        what: the file's name, for the message.

    Raises:
        SourceError: a wanted band is not among them, or they are of another number than was said.
    """
    names = ", ".join(wanted)
    if said and len(said) != count:
        raise SourceError(
            f"{what} has {count} bands, but {len(said)} were named: {', '.join(said)}. Name all "
            "bands of the file, in its order."
        )
    known = [plain_name(name) for name in (said or own)]
    missing = [name for name in wanted if name not in known]
    unnamed = [index for index, name in enumerate(known) if not name]
    if len(missing) == 1 and len(unnamed) == 1:
        known[unnamed[0]] = missing[0]
        missing = []
    if not missing:
        return [known.index(name) + 1 for name in wanted]
    if said:
        raise SourceError(
            f"The network needs the bands {names}; of {what} were named {', '.join(said)}, without "
            f"{', '.join(missing)}."
        )
    if count == len(wanted) and not any(known):
        return list(range(1, count + 1))
    raise SourceError(
        f"{what} has {count} bands ({', '.join(name or 'unnamed' for name in known)}); the network "
        f"needs {names}. Name the file's bands in their order: --bands red,green,blue,nir (in "
        "training data.bands)."
    )
