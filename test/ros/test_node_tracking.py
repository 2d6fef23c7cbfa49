"""Following targets in a running node: ids, states, windows, stamps, changes while it runs.

Stamps are simulated, so that seconds of flight take milliseconds.
"""

import numpy as np
import pytest
from refdet_msgs.msg import Target, TemplateReference
from sensor_msgs.msg import RegionOfInterest

SIDE = 40  # wherever it is, one of the toy network's 32 px cells lies inside
LEFT, RIGHT = (60, 100), (220, 100)
FORGET_S = 2.0
START_NS = 10**18


class Flight:
    """Films coloured squares and asks the node about each frame.

    A frame that is sent twice has a stamp that stands still, and then the wall clock counts.
    """

    def __init__(self, bench, tools):
        self.bench, self.tools = bench, tools
        self.now_s = 0.0
        self.shown = 0

    def picture(self, *squares):
        """A grey frame with squares, each ``(colour, (left, top))``."""
        frame = np.full((240, 320, 3), 114, np.uint8)
        for colour, (x, y) in squares:
            frame[max(0, y) : y + SIDE, max(0, x) : x + SIDE] = self.tools.COLOURS_BGR[colour]
        return frame

    def show(self, *squares, dt_s=0.1):
        """The next frame's answer: detections by template, and targets by template."""
        self.now_s += dt_s
        return self.answer(self.picture(*squares), START_NS + round(self.now_s * 1e9))

    def show_unstamped(self, *squares):
        return self.answer(self.picture(*squares), stamp_ns=0)

    def show_for(self, seconds, *squares):
        """The last of the answers while the picture stays."""
        end_s = self.now_s + seconds
        answer = None
        while self.now_s < end_s - 1e-6:
            answer = self.show(*squares)
        return answer

    def answer(self, frame_bgr, stamp_ns):
        self.shown += 1  # stamps may repeat, headers must not
        image = self.tools.image(frame_bgr, self.tools.header(f"frame {self.shown}", stamp_ns))
        detections = self.bench.result(image).detections

        def mine():
            return [item for item in self.bench.targets if item.header == image.header]

        targets = self.tools.wait_for(mine, what="the frame's targets")[0].targets
        return (
            {item.results[0].hypothesis.class_id: item for item in detections},
            {item.template_id: item for item in targets},
        )

    def held(self, square_xy, *squares):
        """A reference: a square in the frame that shows these, the newest one."""
        stamp_ns = START_NS + round(self.now_s * 1e9)
        image = self.tools.image(self.picture(*squares), self.tools.header("held", stamp_ns))
        reference = roi_reference(square_xy)
        reference.image, reference.same_camera = image, True
        return reference

    def set_references(self, *colours):
        """Set one template for each colour, its id the colour, and nothing else."""
        self.bench.clear()
        for colour in colours:
            self.bench.set_template(colour, template_id=colour)


@pytest.fixture(scope="module")
def flight(start_node, connect, tools):
    # With best_view the toy model finds either of two references; their mean is a third colour.
    pooling = {"reference_pooling": "best_view"}
    node = start_node(search="auto", auto_forget_s=FORGET_S, image_qos="reliable", **pooling)
    return Flight(tools.Bench(node, connect(), reliable=True), tools)


def in_square(detection, square_xy):
    """Whether the box's centre lies in the square."""
    centre = detection.bbox.center.position
    x, y = square_xy
    return x < centre.x < x + SIDE and y < centre.y < y + SIDE


def roi_reference(square_xy):
    x, y = square_xy
    return TemplateReference(roi=RegionOfInterest(x_offset=x, y_offset=y, width=SIDE, height=SIDE))


def test_found_followed_lost_and_found_again(flight):
    flight.set_references("red")
    found, targets = flight.show()
    assert not found and targets["red"].state == Target.SEARCHING
    assert targets["red"].track_id == "" and targets["red"].presence < 0.1

    found, targets = flight.show_for(0.5, ("red", LEFT))
    first = found["red"].id
    assert first.isdigit() and targets["red"].track_id == first
    assert targets["red"].state == Target.TRACKING and targets["red"].presence > 0.9

    for step in range(1, 16):
        place = (LEFT[0] + 6 * step, LEFT[1] - 2 * step)
        found, targets = flight.show(("red", place))
        assert found["red"].id == first and in_square(found["red"], place)
        window = targets["red"].window
        assert 0 < window.width < 320 and window.x_offset + window.width <= 320

    found, targets = flight.show()
    assert not found, "nothing may be reported of a target that is not seen"
    assert targets["red"].state == Target.TRACKING  # one frame is no loss
    found, targets = flight.show_for(0.8)
    assert not found and targets["red"].state == Target.LOST
    assert targets["red"].track_id == first

    found, targets = flight.show_for(0.5, ("red", RIGHT))
    assert found["red"].id == first and targets["red"].state == Target.TRACKING

    found, targets = flight.show_for(FORGET_S + 1.0)
    assert not found and targets["red"].state == Target.SEARCHING
    assert targets["red"].track_id == ""
    found, targets = flight.show_for(0.5, ("red", LEFT))
    assert int(found["red"].id) > int(first)


def test_first_track_of_a_node_is_number_1(start_node, connect, tools):
    node = start_node(namespace="fresh", search="auto", image_qos="reliable")
    flight = Flight(tools.Bench(node, connect("fresh"), reliable=True), tools)
    flight.set_references("red")
    found, _ = flight.show_for(0.5, ("red", LEFT))
    assert found["red"].id == "1"


@pytest.mark.parametrize("here, elsewhere", [(LEFT, RIGHT), (RIGHT, LEFT)])
def test_roi_of_the_newest_frame_is_followed_at_once(flight, here, elsewhere):
    """Two squares alike: the one that was pointed at is the target."""
    flight.set_references()
    flight.show(("red", here), ("red", elsewhere))
    response = flight.bench.request(roi_reference(here), template_id="car")
    assert response.success and response.message == "Following 'car' with 1 reference(s)."
    for step in range(12):
        place = (here[0], here[1] - 4 * step)
        found, targets = flight.show(("red", place), ("red", elsewhere))
        assert targets["car"].state == Target.TRACKING
        assert found["car"].id == targets["car"].track_id and in_square(found["car"], place)


@pytest.mark.parametrize("wait_s", [0.1, 0.5, 4.0])
def test_roi_of_a_held_frame_is_followed_from_the_first_frame_that_shows_it_there(
    flight, tools, wait_s
):
    """Two squares alike: the one that was pointed at is the target, also seconds later."""
    flight.set_references()
    scene = [("red", LEFT), ("red", RIGHT)]
    flight.show(*scene)
    held = flight.held(RIGHT, *scene)
    flight.show_for(wait_s, *scene)
    response = flight.bench.request(held, template_id="car")
    assert response.success and response.message == "Looking for 'car' with 1 reference(s)."
    found, targets = flight.show(*scene)
    assert targets["car"].state == Target.TRACKING and in_square(found["car"], RIGHT)


def test_what_has_left_its_place_in_the_held_frame_is_searched_everywhere(flight):
    flight.set_references()
    flight.show(("red", RIGHT))
    held = flight.held(RIGHT, ("red", RIGHT))
    flight.show_for(0.5)
    flight.bench.request(held, template_id="car")
    found, targets = flight.show_for(0.5, ("red", LEFT))
    assert targets["car"].state == Target.TRACKING and in_square(found["car"], LEFT)


@pytest.mark.parametrize("change", ["another camera", "a crop", "old", "future", "no stamp"])
def test_a_picture_that_is_no_recent_frame_gives_no_place(flight, tools, change):
    flight.set_references()
    flight.show(("red", LEFT))
    held = flight.held(LEFT, ("red", LEFT))
    if change == "another camera":
        held.same_camera = False
    elif change == "a crop":
        left, _ = LEFT
        crop = flight.picture(("red", LEFT))[:, : left + 2 * SIDE]
        held.image = tools.image(crop, held.image.header)
    elif change == "old":
        held.image.header.stamp.sec -= 30
    elif change == "future":
        held.image.header.stamp.sec += 30
    else:
        held.image.header.stamp = tools.header("", 0).stamp
    assert flight.bench.request(held, template_id="car").success
    _, targets = flight.show(("red", LEFT))
    assert targets["car"].state == Target.SEARCHING


def test_roi_among_photos_gives_the_place(flight, tools):
    flight.set_references()
    flight.show(("red", LEFT), ("red", RIGHT))
    response = flight.bench.request(tools.colour_reference("green"), roi_reference(RIGHT))
    assert response.reference_count == 2
    found, _ = flight.show(("red", LEFT), ("red", RIGHT))
    assert in_square(found["target"], RIGHT)


def test_photo_alone_does_not_begin_a_track(flight):
    flight.set_references("red")
    found, targets = flight.show(("red", LEFT))
    assert not found and targets["red"].state == Target.SEARCHING


def test_appended_roi_begins_a_track_only_where_there_is_none(flight):
    flight.set_references("red")
    flight.show(("red", LEFT), ("red", RIGHT))
    response = flight.bench.request(roi_reference(RIGHT), template_id="red", append=True)
    assert response.message == "Following 'red' with 2 reference(s)."
    found, _ = flight.show(("red", LEFT), ("red", RIGHT))
    assert in_square(found["red"], RIGHT)

    # Pointing elsewhere now adds a view; the track goes on.
    response = flight.bench.request(roi_reference(LEFT), template_id="red", append=True)
    assert response.message == "Looking for 'red' with 3 reference(s)."
    again, _ = flight.show(("red", LEFT), ("red", RIGHT))
    assert again["red"].id == found["red"].id and in_square(again["red"], RIGHT)

    # A template that was cleared is not followed any more, whatever was said of it last.
    flight.set_references()
    response = flight.bench.request(roi_reference(LEFT), template_id="red", append=True)
    assert response.message == "Following 'red' with 1 reference(s)."
    found, _ = flight.show(("red", LEFT), ("red", RIGHT))
    assert in_square(found["red"], LEFT)


def test_two_targets_have_two_ids(flight):
    flight.set_references("red", "green")
    scene = (("red", LEFT), ("green", RIGHT))
    found, targets = flight.show_for(0.5, *scene)
    assert set(found) == {"red", "green"} and found["red"].id != found["green"].id
    assert in_square(found["red"], LEFT) and in_square(found["green"], RIGHT)
    without_red, targets = flight.show_for(1.0, ("green", RIGHT))
    assert set(without_red) == {"green"}
    assert without_red["green"].id == found["green"].id
    assert [(name, item.state) for name, item in targets.items()] == [
        ("green", Target.TRACKING),
        ("red", Target.LOST),
    ]


@pytest.mark.parametrize(
    "name, value",
    [
        ("track_window_influence", 0.3),
        ("auto_lost_s", 0.7),
        ("score_threshold", 0.4),
        ("track_camera_motion", True),
    ],
)
def test_changed_parameter_keeps_the_track(flight, name, value):
    flight.set_references("red")
    before, _ = flight.show_for(0.5, ("red", LEFT))
    with flight.bench.client.parameters(**{name: value}):
        after, _ = flight.show(("red", LEFT))
        assert after["red"].id == before["red"].id


def test_changed_time_is_used(flight):
    flight.set_references("red")
    flight.show_for(0.5, ("red", LEFT))
    with flight.bench.client.parameters(auto_lost_s=5.0):
        _, targets = flight.show_for(1.5)
        assert targets["red"].state == Target.TRACKING
    _, targets = flight.show()
    assert targets["red"].state == Target.LOST


@pytest.mark.parametrize("jump_s", [-0.05, -1e6, 3600.0, 1e9])
def test_stamps_that_jump(flight, jump_s):
    """A bag begins again, a simulation is reset, a camera pauses, a clock is set."""
    flight.now_s = 2e6
    flight.set_references("red")
    flight.show_for(0.5, ("red", LEFT))
    flight.show(("red", LEFT), dt_s=jump_s)
    found, targets = flight.show_for(0.5, ("red", LEFT))
    assert in_square(found["red"], LEFT) and targets["red"].state == Target.TRACKING
    # Nobody waits for a time long past to come again: a loss is noticed as ever.
    flight.show(dt_s=min(jump_s, 0.1))
    found, targets = flight.show_for(0.8)
    assert not found and targets["red"].state == Target.LOST


def test_long_pause_with_the_target_gone(flight):
    flight.set_references("red")
    flight.show_for(0.5, ("red", LEFT))
    found, _ = flight.show(dt_s=3600)
    assert not found
    found, targets = flight.show_for(0.5, ("red", RIGHT))
    assert in_square(found["red"], RIGHT) and targets["red"].state == Target.TRACKING


def test_frames_without_stamps_are_followed(flight):
    flight.set_references("red")
    flight.show(("red", LEFT))
    for _ in range(5):
        found, targets = flight.show_unstamped(("red", LEFT))
    assert found["red"].id and targets["red"].state == Target.TRACKING
    again, _ = flight.show(("red", LEFT))
    assert again["red"].id == found["red"].id


def test_search_changed_while_running(flight):
    flight.set_references("red")
    flight.show_for(0.5, ("red", LEFT))
    set_parameter = flight.bench.client.set_parameter
    try:
        assert set_parameter("search", "tiles").successful
        found, targets = flight.show(("red", LEFT))
        assert found["red"].id == "" and targets == {}
        response = flight.bench.request(roi_reference(LEFT), template_id="red")
        assert response.message == "Looking for 'red' with 1 reference(s)."
    finally:
        assert set_parameter("search", "auto").successful
    found, targets = flight.show(("red", LEFT))
    assert not found and targets["red"].state == Target.SEARCHING
    found, targets = flight.show_for(0.5, ("red", LEFT))
    assert found["red"].id and targets["red"].state == Target.TRACKING


def test_budget_of_tiles_still_finds(flight):
    """Four tiles, one a frame: the target is found within a round or two."""
    tiles = {"tile_overlap": 64, "tile_width": 192, "tile_height": 160, "max_tiles_per_frame": 1}
    with flight.bench.client.parameters(**tiles):
        flight.set_references("red")
        found, _ = flight.show_for(1.5, ("red", RIGHT))
        assert in_square(found["red"], RIGHT)


def test_diagnostics_tell_the_state_of_each_target(flight):
    flight.set_references("red", "green")
    found, _ = flight.show_for(0.5, ("red", LEFT))

    def followed(status, values):
        flight.show(("red", LEFT))
        return values.get("target: red") == "tracking " + found["red"].id

    status = flight.bench.wait_status(followed)
    values = {item.key: item.value for item in status.values}
    assert values["target: green"] == "searching" and values["search"] == "auto"
    track = found["red"].id
    assert f"looking for 'red' (tracking {track}), 'green' (searching) at" in status.message

    def lost(status, values):
        flight.show_for(0.7)
        return values.get("target: red") == "lost " + track

    with flight.bench.client.parameters(auto_forget_s=3600.0):
        flight.bench.wait_status(lost)
    # Of a camera that is silent nobody knows.
    silent = flight.bench.wait_status(lambda status, _: "no image on" in status.message)
    assert not [item.key for item in silent.values if item.key.startswith("target: ")]


@pytest.mark.parametrize(
    "name, value, reason",
    [
        ("track_scales", 2, "one of 1, 3, 5"),
        ("track_context", -1.5, "range"),
        ("auto_confirm_frames", 9, "at most auto_confirm_of"),
        ("auto_lost_s", 1e9, "range"),
        ("max_tiles_per_frame", -1, "range"),
    ],
)
def test_refused_settings_keep_the_track(flight, name, value, reason):
    flight.set_references("red")
    before, _ = flight.show_for(0.5, ("red", LEFT))
    result = flight.bench.client.set_parameter(name, value)
    assert not result.successful and reason in result.reason
    after, _ = flight.show(("red", LEFT))
    assert after["red"].id == before["red"].id
