"""What ``refdet-train`` prints about its commands, without the seconds that a trainer takes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from refdet_training.cli import COMMANDS, main

HELP_ALONE = """
import sys
from refdet_training.cli import main
try:
    main(["--help"])
finally:
    print("heavy:", [name for name in ("torch", "lightning", "pandas") if name in sys.modules])
"""


def test_help_names_every_command_and_imports_no_trainer():
    done = subprocess.run(
        [sys.executable, "-c", HELP_ALONE], capture_output=True, text=True, timeout=60, check=True
    )
    assert all(name in done.stdout for name in COMMANDS)
    assert "heavy: []" in done.stdout


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "fit"])
def test_a_command_explains_its_options(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    shown = capsys.readouterr().out
    assert f"refdet-train {name}" in shown
    assert "--output" in shown or "--bundle" in shown
    assert "``" not in shown


@pytest.mark.parametrize("given", [[], ["joyn"], ["--join"]])
def test_what_is_no_command_is_refused(given, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(given)
    assert "COMMAND" in capsys.readouterr().err.upper()
