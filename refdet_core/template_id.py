"""The name of a template: part of every published detection, of file names and of logs."""

from __future__ import annotations

from refdet_core.errors import BadReferenceError

MAX_LENGTH = 64


def check_template_id(template_id: str) -> None:
    """Refuse a name that is empty, long, or has line breaks or other control characters.

    Raises:
        BadReferenceError: the name is not 1 to :data:`MAX_LENGTH` printable characters.
    """
    if not 1 <= len(template_id) <= MAX_LENGTH or not template_id.isprintable():
        shown = repr(template_id[:MAX_LENGTH]) + ("..." if len(template_id) > MAX_LENGTH else "")
        raise BadReferenceError(
            f"A template id must be 1 to {MAX_LENGTH} printable characters, got "
            f"{len(template_id)}: {shown}."
        )
