from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GAP = "\0"  # what a message fills in
# Messages and names of Python, NumPy and CUDA.
OF_OTHER_SOFTWARE = (
    "No module named 'pycuda'",
    "libcuda.so.1: cannot open shared object file",
    "numpy.core.multiarray failed to import",
    "module compiled against API version",
    "CUDA_ERROR_LAUNCH_FAILED",
    "CUDA_ERROR_ILLEGAL_ADDRESS",
)


def documented_messages():
    """The first column's pieces in backticks; rows that begin with words tell of symptoms."""
    text = (ROOT / "docs" / "jetson.md").read_text(encoding="utf-8")
    table = text.partition("| message | reason |")[2]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row)]


def texts_of_the_sources():
    """All strings, with a gap where something is filled in."""
    for package in ("refdet_core", "refdet_ros"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(
                        part.value if isinstance(part, ast.Constant) else GAP
                        for part in node.values
                    )
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield re.sub(r"\{[^{}]*\}|%(\.\d)?[sdf]", GAP, node.value)


def test_messages_are_those_of_the_code():
    messages = documented_messages()
    assert len(messages) > 20
    texts = list(texts_of_the_sources())
    unknown = []
    for message in messages:
        ours = message
        for other in OF_OTHER_SOFTWARE:
            ours = ours.replace(other, "…")
        pieces = [piece.strip(" ();:") for piece in ours.split("…")]
        unknown += [
            f"{piece} (of: {message})"
            for piece in pieces
            if piece and not any(piece in text for text in texts)
        ]
    assert "\n".join(unknown) == ""
