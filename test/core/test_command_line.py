from __future__ import annotations

from refdet_core.command_line import join_negative_values


def test_a_value_with_a_minus_is_joined_to_its_option():
    given = ["detect", "--roi", "-5,10,20,20", "--init", "-.5,0,9,9", "--contrast", "-20,60"]
    assert join_negative_values(given) == [
        *("detect", "--roi=-5,10,20,20", "--init=-.5,0,9,9", "--contrast=-20,60")
    ]
    others = ["--roi", "--video", "-1,2", "--roi=-1,2,3,4", "--roi"]
    assert join_negative_values(others) == others
    assert join_negative_values([]) == []
