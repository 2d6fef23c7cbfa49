"""What argparse needs help with."""

from __future__ import annotations

import re
from typing import List, Sequence

NUMBER_LISTS = ("--roi", "--init", "--contrast")
"""Options whose value may begin with a negative number."""


def join_negative_values(arguments: Sequence[str]) -> List[str]:
    """Command-line arguments with ``--roi -5,10,20,20`` as ``--roi=-5,10,20,20``.

    argparse takes a separate value that begins with a minus for an option.
    """
    joined: List[str] = []
    for argument in arguments:
        if joined and joined[-1] in NUMBER_LISTS and re.match(r"-[\d.]", argument):
            joined[-1] += "=" + argument
        else:
            joined.append(argument)
    return joined
