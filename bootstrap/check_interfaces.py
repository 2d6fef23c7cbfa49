"""Load the compiled type support of every type of the packages named as arguments."""

from __future__ import annotations

import importlib
import sys

from rclpy.type_support import check_for_type_support


def main() -> None:
    """Raise for the first type whose libraries cannot be loaded."""
    for package in sys.argv[1:]:
        for kind in ("msg", "srv"):
            try:
                module = importlib.import_module(f"{package}.{kind}")
            except ModuleNotFoundError as error:
                if error.name != f"{package}.{kind}":
                    raise
                continue
            for name in dir(module):
                candidate = getattr(module, name)
                if isinstance(candidate, type):
                    check_for_type_support(candidate)
                    print(f"{package}/{kind}/{name}: loaded")


if __name__ == "__main__":
    main()
