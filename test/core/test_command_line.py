from __future__ import annotations

import signal

import pytest

from refdet_core.command_line import join_negative_values, run_command, stop_on_sigterm
from refdet_core.errors import SourceError


def _raises(error):
    def run():
        raise error

    return run


def test_a_value_with_a_minus_is_joined_to_its_option():
    given = ["detect", "--roi", "-5,10,20,20", "--init", "-.5,0,9,9", "--contrast", "-20,60"]
    assert join_negative_values(given) == [
        *("detect", "--roi=-5,10,20,20", "--init=-.5,0,9,9", "--contrast=-20,60")
    ]
    others = ["--roi", "--video", "-1,2", "--roi=-1,2,3,4", "--roi"]
    assert join_negative_values(others) == others
    assert join_negative_values([]) == []


@pytest.mark.parametrize(
    ("outcome", "code", "text"),
    [
        (lambda: None, 0, ""),
        (lambda: 3, 3, ""),
        (_raises(SourceError("No such video.")), 2, "fly: No such video.\n"),
        (_raises(KeyboardInterrupt), 130, "fly: landed.\n"),
    ],
)
def test_how_a_command_ends(outcome, code, text, capsys):
    assert run_command("fly", outcome, error_code=2, when_stopped="landed.") == code
    assert capsys.readouterr().err == text


def test_other_errors_of_a_command_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run_command("fly", lambda: 1 // 0)


def test_sigterm_stops_a_command_like_ctrl_c(capsys):
    before = signal.getsignal(signal.SIGTERM)
    try:
        stop_on_sigterm()
        assert run_command("fly", lambda: signal.raise_signal(signal.SIGTERM)) == 130
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr().err == "fly: stopped.\n"
