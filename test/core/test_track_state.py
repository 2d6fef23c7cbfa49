from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refdet_core.errors import ConfigError
from refdet_core.search.track_state import AutoConfig, TrackState
from refdet_core.types import LOST, SEARCHING, TRACKING


@dataclass
class Story:
    """One target told a score a frame; a confirmed one is followed, as a search does it."""

    track: TrackState
    period_s: float = 0.1
    time_s: float = 0.0
    ids: itertools.count = field(default_factory=lambda: itertools.count(1))

    def tell(self, *scores: float | None) -> list[str]:
        """The state after each of these frames."""
        states = []
        for score in scores:
            self.time_s += self.period_s
            self.track.update(score, self.time_s)
            if self.track.state != TRACKING and self.track.confirmed:
                back = self.track.track_id
                self.track.start(next(self.ids) if back is None else back, self.time_s)
            states.append(self.track.state)
        return states

    def tell_for(self, seconds: float, score: float | None) -> list[str]:
        return self.tell(*[score] * round(seconds / self.period_s))


def story(period_s: float = 0.1, **settings) -> Story:
    return Story(
        TrackState(AutoConfig(**{"auto_confirm_score": 0.7, "auto_back_drop": 1.75, **settings})),
        period_s,
    )


def tracked(score: float, **settings) -> Story:
    """Followed for five seconds at this score, from a box that was given."""
    begun = story(**settings)
    begun.track.start(next(begun.ids), begun.time_s)
    begun.tell_for(5.0, score)
    return begun


def test_begins_searching_without_an_id() -> None:
    track = TrackState(AutoConfig(auto_confirm_score=0.7, auto_back_drop=1.75))
    assert (track.state, track.track_id, track.confirmed) == (SEARCHING, None, False)
    assert track.least_score == 0.7


@pytest.mark.parametrize(
    ("scores", "states"),
    [
        ([0.9] * 3, [SEARCHING, SEARCHING, TRACKING]),
        # exactly the least score counts, a little less does not
        ([0.7] * 3, [SEARCHING, SEARCHING, TRACKING]),
        ([0.69] * 9, [SEARCHING] * 9),
        # three of five, with gaps
        ([0.9, 0.1, 0.9, None, 0.9], [SEARCHING] * 4 + [TRACKING]),
        # three, but of six
        ([0.9, 0.1, 0.9, 0.1, 0.1, 0.9], [SEARCHING] * 6),
        ([0.9, 0.1, 0.1] * 5, [SEARCHING] * 15),
        ([None] * 9, [SEARCHING] * 9),
    ],
)
def test_three_of_five_frames_begin_a_track(scores, states) -> None:
    assert story().tell(*scores) == states


@pytest.mark.parametrize(("frames", "of"), [(1, 1), (1, 5), (2, 2), (5, 5), (4, 9)])
def test_k_of_n_is_as_configured(frames: int, of: int) -> None:
    settings = {"auto_confirm_frames": frames, "auto_confirm_of": of}
    assert story(**settings).tell(*[0.9] * frames) == [SEARCHING] * (frames - 1) + [TRACKING]
    with_gaps = [0.9] * (frames - 1) + [0.0] * (of - frames) + [0.9]
    assert story(**settings).tell(*with_gaps)[-1] == TRACKING
    too_late = [0.9] * (frames - 1) + [0.0] * (of - frames + 1) + [0.9]
    assert (story(**settings).tell(*too_late)[-1] == TRACKING) == (frames == 1)


def test_another_candidate_begins_to_count_anew() -> None:
    watched = story()
    watched.tell(0.9, 0.9)
    watched.track.restart()
    assert watched.tell(0.9, 0.9, 0.9) == [SEARCHING, SEARCHING, TRACKING]


def test_after_a_sure_track_a_low_score_is_absence() -> None:
    # log-odds of 0.95 are 2.94; 3 less is a probability of 0.486
    sure = tracked(0.95)
    assert sure.track.least_score == pytest.approx(0.486, abs=0.001)
    assert sure.tell_for(0.5, 0.2) == [TRACKING] * 5
    assert sure.tell(0.2) == [LOST]


def test_a_track_that_never_scored_better_goes_on() -> None:
    unsure = tracked(0.35)
    # log-odds of 0.35 less 3 are 0.026: the least score that ever counts is higher
    assert unsure.track.least_score == 0.15
    assert set(unsure.tell_for(10.0, 0.3)) == {TRACKING}
    assert set(unsure.tell_for(10.0, 0.2)) == {TRACKING}
    assert unsure.tell_for(0.7, 0.1)[-1] == LOST


def test_a_likely_target_counts_however_sure_it_was_before() -> None:
    # log-odds of 0.999 less 3 would be 0.98
    surest = tracked(0.999)
    assert surest.track.least_score == 0.5
    assert set(surest.tell_for(5.0, 0.55)) == {TRACKING}


def test_a_slow_fall_is_followed_down() -> None:
    falling = tracked(0.95)
    for score in (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2):
        assert set(falling.tell_for(2.0, score)) == {TRACKING}


@pytest.mark.parametrize(
    ("score", "span_s"),
    [(0.8, 1.0), (0.35, 10.0)],  # it rises within a second and falls within ten
)
@pytest.mark.parametrize(("period_s", "frames"), [(0.1, 3), (0.03, 10)])
def test_the_usual_score_takes_its_time_at_any_frame_rate(score, span_s, period_s, frames) -> None:
    # from 0.5 towards the score: what is left of the difference is (1 - period / span) ** frames
    usual = score + (0.5 - score) * (1 - period_s / span_s) ** frames
    config = AutoConfig(track_keep_drop=2.0, track_keep_score=0.0, auto_confirm_score=0.7)
    seen = Story(TrackState(config), period_s)
    seen.track.start(1, 0.0)
    seen.tell(0.5, *[score] * frames)
    odds = usual / (1 - usual) / math.exp(2)
    assert seen.track.least_score == pytest.approx(odds / (1 + odds), abs=1e-4)


@pytest.mark.parametrize("period_s", [0.1, 1 / 30, 0.2])
def test_lost_after_the_time_told_not_after_frames(period_s: float) -> None:
    gone = story(period_s)
    gone.tell(0.9, 0.9, 0.9)
    seen_s = gone.time_s
    while gone.tell(0.0) == [TRACKING]:
        assert gone.time_s - seen_s <= 0.5 + 1e-9
    assert 0.5 < gone.time_s - seen_s < 0.5 + period_s + 1e-9
    assert gone.track.track_id == 1


def test_seen_every_other_frame_it_is_not_lost() -> None:
    blinking = tracked(0.9)
    for _ in range(20):
        assert set(blinking.tell(None, 0.9, 0.0, 0.0, 0.9, 0.9)) == {TRACKING}


def test_a_chance_resemblance_now_and_then_does_not_keep_a_track() -> None:
    gone = tracked(0.9)
    # each three frames leave 0.1 s more; in the fifth three it is over 0.5 s
    assert gone.tell(*[0.0, 0.0, 0.6] * 5) == [TRACKING] * 12 + [TRACKING, LOST, LOST]


def test_after_a_long_time_without_frames_the_track_is_not_taken_up_again() -> None:
    paused = tracked(0.9)
    paused.time_s += 60.0
    assert paused.tell(0.9) == [SEARCHING]
    assert paused.track.track_id is None


def test_with_no_patience_the_first_unseen_frame_loses_it() -> None:
    assert tracked(0.9, auto_lost_s=0.0).tell(0.0) == [LOST]


@pytest.mark.parametrize(
    ("usual", "least"),
    [
        # log-odds less 1.75, between auto_start_score 0.3 and auto_confirm_score 0.7
        (0.99, 0.7),
        (0.8, 0.410),
        (0.5, 0.3),
        (0.35, 0.3),
    ],
)
def test_back_at_a_score_near_its_usual_one(usual: float, least: float) -> None:
    lost = tracked(usual)
    lost.tell_for(2.0, 0.0)
    assert lost.track.state == LOST
    assert lost.track.least_score == pytest.approx(least, abs=0.001)
    assert lost.tell(*[least - 0.01] * 5) == [LOST] * 5
    assert lost.tell(*[least + 0.01] * 3) == [LOST, LOST, TRACKING]
    assert lost.track.track_id == 1


@pytest.mark.parametrize(("away_s", "track_id"), [(1.0, 1), (10.1, 1), (11.0, 2), (60.0, 2)])
def test_the_id_survives_a_short_loss_only(away_s: float, track_id: int) -> None:
    away = tracked(0.9)
    states = away.tell_for(away_s, 0.0)
    assert states[-1] == (LOST if track_id == 1 else SEARCHING)
    assert away.track.track_id == (1 if track_id == 1 else None)
    assert away.tell(0.9, 0.9, 0.9)[-1] == TRACKING
    assert away.track.track_id == track_id


def test_a_lost_one_needs_confirming_again() -> None:
    lost = tracked(0.9)
    lost.tell_for(1.0, 0.0)
    assert lost.tell(0.9, 0.9, 0.0, 0.0, 0.0, 0.9) == [LOST] * 6


def test_a_dropped_track_is_forgotten() -> None:
    wrong = tracked(0.9)
    wrong.track.drop()
    assert (wrong.track.state, wrong.track.track_id) == (SEARCHING, None)
    assert wrong.track.least_score == 0.7
    assert wrong.tell(0.9, 0.9, 0.9)[-1] == TRACKING
    assert wrong.track.track_id == 2


def test_a_new_track_does_not_inherit_what_the_last_one_scored() -> None:
    fresh = tracked(0.99)
    fresh.track.drop()
    fresh.tell(0.7, 0.7, 0.7)
    # 3 below the log-odds of 0.7 is 0.104
    assert fresh.track.least_score == 0.15


def test_a_box_that_was_given_may_score_anything_at_first() -> None:
    given_box = story()
    given_box.track.start(1, 0.0)
    assert given_box.track.least_score == 0.15
    assert given_box.tell(0.2, 0.3, 0.2) == [TRACKING] * 3


def test_time_that_stands_still_or_goes_back_changes_nothing_for_a_seen_one() -> None:
    still = tracked(0.9)
    for time_s in (still.time_s, still.time_s, 1.0, 0.0, -5.0, 0.0):
        still.track.update(0.9, time_s)
        assert (still.track.state, still.track.track_id) == (TRACKING, 1)
    still.time_s = 0.0
    assert still.tell_for(0.7, 0.0)[-1] == LOST


@settings(deadline=None)
@given(
    scores=st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=120),
    period_s=st.floats(0, 3),
)
def test_whatever_happens_the_states_make_sense(scores, period_s: float) -> None:
    watched, past_ids = story(period_s), []
    more_unseen_s, before = 0.0, (SEARCHING, None)
    for score in scores:
        seen = score is not None and score >= watched.track.least_score
        watched.tell(score)
        more_unseen_s = max(0.0, more_unseen_s + (-period_s if seen else period_s))
        if before[0] != TRACKING:
            more_unseen_s = 0.0
        now = (watched.track.state, watched.track.track_id)
        assert (now[1] is None) == (now[0] == SEARCHING)
        assert 0.15 <= watched.track.least_score <= 1
        if now[0] == LOST and before[0] == TRACKING:
            assert not seen and more_unseen_s > 0.5 - 1e-6
        if before[0] in (TRACKING, LOST):
            assert now in ((TRACKING, before[1]), (LOST, before[1]), (SEARCHING, None))
        if now[0] == TRACKING and before[0] != TRACKING:
            assert seen
            if before[0] == SEARCHING:
                past_ids.append(now[1])
        before = now
    assert past_ids == list(range(1, len(past_ids) + 1))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"auto_start_score": -0.1}, "auto_start_score must be between 0 and 1"),
        ({"auto_confirm_score": float("nan")}, "auto_confirm_score must be between -1 and 1"),
        ({"auto_lost_s": -1.0}, "auto_lost_s must be between 0 and 3600"),
        ({"auto_forget_s": 1e9}, "auto_forget_s must be between 0 and 3600"),
        ({"auto_check_s": float("inf")}, "auto_check_s must be between 0 and 3600"),
        ({"auto_back_drop": 21.0}, "auto_back_drop must be between 0 and 20"),
        ({"auto_confirm_frames": 0}, "got 0 of 5"),
        ({"auto_confirm_of": 2}, "got 3 of 2"),
        ({"track_window_px": 1}, "track_window_px must be between"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AutoConfig(**setting)
