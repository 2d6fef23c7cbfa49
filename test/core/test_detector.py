from __future__ import annotations

import threading
from pathlib import Path

import cv2
import fake_cuda
import numpy as np
import pytest

from refdet_core import backends
from refdet_core.detector import Detector
from refdet_core.detector_config import DetectorConfig
from refdet_core.errors import (
    BackendError,
    BadReferenceError,
    ConfigError,
    DeviceLostError,
    OutOfMemoryError,
    RefdetError,
)
from refdet_core.metrics import box_iou
from refdet_core.types import Reference

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def detector(colour_bundle):
    with Detector.open(colour_bundle) as opened:
        yield opened


def photo(square_frame, colour, squares):
    x, y = squares[colour]
    return Reference(square_frame(colour), (x, y, x + 32, y + 32))


def found(result):
    return {d.template_id: tuple(round(v) for v in d.bbox_xyxy) for d in result.detections}


def test_without_a_template_nothing_is_found(detector, square_frame):
    result = detector.detect(square_frame("red"))
    assert result.detections == ()
    assert result.presence == {}


def test_finds_the_object_where_it_is_in_frame_pixels(detector, square_frame, squares):
    detector.set_template([photo(square_frame, "red", squares)], "red")
    result = detector.detect(square_frame("red", "green", "blue"))
    x, y = squares["red"]
    assert found(result) == {"red": (x, y, x + 32, y + 32)}
    assert result.detections[0].score > 0.9
    assert set(result.timings_ms) == {"preprocess", "network", "decode", "search"}


def test_says_nothing_when_the_object_is_absent(detector, square_frame, squares):
    detector.set_template([photo(square_frame, "red", squares)], "red")
    result = detector.detect(square_frame("green"))
    assert result.detections == ()
    assert result.presence["red"] < 0.5


def test_several_templates_at_once_and_clearing_one(detector, square_frame, squares):
    for colour in ("red", "green", "blue"):
        detector.set_template([photo(square_frame, colour, squares)], colour)
    frame = square_frame("red", "green", "blue")
    assert set(found(detector.detect(frame))) == {"red", "green", "blue"}
    assert detector.clear_template("green") == ("green",)
    assert set(found(detector.detect(frame))) == {"red", "blue"}
    assert set(detector.clear_template()) == {"red", "blue"}
    assert detector.detect(frame).detections == ()


@pytest.mark.parametrize("tile", [(320, 240), (128, 96), (96, 96)])
def test_tiles_find_each_object_once_wherever_the_seams_are(
    colour_bundle, square_frame, squares, tile
):
    config = DetectorConfig(
        tile_width=tile[0],
        tile_height=tile[1],
        tile_overlap=48,
        tile_scale=1.0,
        max_detections=5,
    )
    with Detector.open(colour_bundle, config=config) as detector:
        for colour in squares:
            detector.set_template([photo(square_frame, colour, squares)], colour)
        result = detector.detect(square_frame(*squares))
        assert len(result.detections) == 3
        for colour, (x, y) in squares.items():
            # The toy's cells lie on an 8 px grid that a tile's start may shift.
            assert np.allclose(found(result)[colour], (x, y, x + 32, y + 32), atol=8)


def test_append_adds_references_and_best_view_finds_either(detector, square_frame, squares):
    detector.configure(DetectorConfig(reference_pooling="best_view"))
    detector.set_template([photo(square_frame, "red", squares)], "thing")
    template = detector.set_template([photo(square_frame, "blue", squares)], "thing", append=True)
    assert len(template.features) == 2 and len(template.thumbnails_bgr) == 2
    assert set(found(detector.detect(square_frame("red")))) == {"thing"}
    assert set(found(detector.detect(square_frame("blue")))) == {"thing"}


def test_prototype_looks_for_the_mean_of_the_references(colour_bundle, square_frame, squares):
    with Detector.open(colour_bundle) as detector:
        references = [photo(square_frame, colour, squares) for colour in ("red", "blue")]
        detector.set_template(references, "purple")
        frame = square_frame()
        frame[84:116, 68:100] = (127, 0, 127)
        assert found(detector.detect(frame)) == {"purple": (68, 84, 100, 116)}
        assert detector.detect(square_frame("red")).detections == ()


def wrong_references():
    good = np.zeros((40, 40, 3), np.uint8)
    return {
        "none": ([], "1 to 5 references, got 0"),
        "six": ([Reference(good)] * 6, "1 to 5 references, got 6"),
        "one pixel": ([Reference(np.zeros((1, 1, 3), np.uint8))], "at least 4x4 px"),
        "no pixels": ([Reference(np.zeros((0, 5, 3), np.uint8))], "at least 4x4 px"),
        "grey": ([Reference(np.zeros((40, 40), np.uint8))], r"\(H, W, 3\) uint8"),
        "float": ([Reference(np.zeros((40, 40, 3), np.float32))], "float32"),
        "left, top, width, height": ([Reference(good, (20, 20, 9, 9))], "not width and height"),
        "empty roi": ([Reference(good, (5, 5, 5, 20))], "leaves 0x15 px"),
        "roi outside": ([Reference(good, (100, 100, 140, 140))], "leaves 0x0 px"),
        "nan roi": ([Reference(good, (0, 0, float("nan"), 9))], "finite"),
        "second of two": ([Reference(good), Reference(good[:2])], "Reference 2 of 2"),
        "too large": ([Reference(np.zeros((4, 20000, 3), np.uint8))], "at most 16384 px"),
    }


@pytest.mark.parametrize("name", ["", "a" * 65, "two\nlines", "bell\a", "\u202ereversed", "\0"])
def test_a_template_id_is_a_short_printable_text(detector, square_frame, squares, name):
    with pytest.raises(BadReferenceError, match="1 to 64 printable characters") as refused:
        detector.set_template([photo(square_frame, "red", squares)], name)
    assert str(refused.value).isprintable() and len(str(refused.value)) < 300
    assert not detector.bank.templates
    for name in ("a" * 64, "Auto Nr. 7 - grün", "目标"):
        detector.set_template([photo(square_frame, "red", squares)], name)


@pytest.mark.parametrize("case", sorted(wrong_references()))
def test_a_bad_reference_is_refused_and_the_old_template_stays(
    detector, square_frame, squares, case
):
    references, message = wrong_references()[case]
    detector.set_template([photo(square_frame, "red", squares)], "red")
    before = detector.bank
    with pytest.raises(BadReferenceError, match=message):
        detector.set_template(references, "red")
    assert detector.bank is before
    assert set(found(detector.detect(square_frame("red")))) == {"red"}


def test_appending_beyond_the_limit_is_refused(detector, square_frame, squares):
    reference = photo(square_frame, "red", squares)
    detector.set_template([reference] * 4, "red")
    with pytest.raises(BadReferenceError, match="4 references and would get 6"):
        detector.set_template([reference] * 2, "red", append=True)
    assert len(detector.bank.templates["red"].features) == 4


def test_clearing_an_unknown_template_names_the_known_ones(detector, square_frame, squares):
    detector.set_template([photo(square_frame, "red", squares)], "red")
    with pytest.raises(ConfigError, match="no template 'bleu'; known: red"):
        detector.clear_template("bleu")


@pytest.mark.parametrize(
    "setting",
    [
        {"score_threshold": 1.5},
        {"max_detections": 0},
        {"nms_iou": -0.1},
        {"tile_width": 10},
        {"tile_overlap": 2000},
        {"reference_pooling": "median"},
        {"search": "everywhere"},
        {"max_tiles_per_frame": -1},
        {"track_scales": 2},
        {"track_window_px": 0},
        {"track_keep_score": float("nan")},
        {"auto_confirm_frames": 6},
        {"auto_lost_s": -1.0},
        {"auto_start_score": 2.0},
    ],
)
def test_wrong_settings_are_refused_and_the_old_ones_stay(detector, setting):
    before = detector.config
    with pytest.raises(ConfigError):
        detector.configure(DetectorConfig(**setting))
    assert detector.config is before


def test_changing_settings_keeps_the_templates(detector, square_frame, squares):
    detector.set_template([photo(square_frame, "red", squares)], "red")
    detector.configure(DetectorConfig(score_threshold=1.0))
    assert detector.detect(square_frame("green")).detections == ()
    detector.configure(DetectorConfig(score_threshold=0.5))
    assert set(found(detector.detect(square_frame("red")))) == {"red"}


@pytest.mark.parametrize("shape", [(0, 0, 3), (10, 10), (10, 10, 4)])
def test_a_frame_that_is_no_picture_is_refused(detector, shape):
    with pytest.raises(RefdetError, match="uint8 BGR"):
        detector.detect(np.zeros(shape, np.uint8))


def test_the_end_of_a_video_is_not_a_frame(detector):
    with pytest.raises(RefdetError, match="uint8 BGR image, got None"):
        detector.detect(None)


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (33, 200), (2000, 40)])
def test_any_frame_size_is_searched(detector, square_frame, squares, size):
    detector.set_template([photo(square_frame, "red", squares)], "red")
    result = detector.detect(np.zeros((size[1], size[0], 3), np.uint8), heatmaps=True)
    assert result.heatmaps["red"].min() >= 0


def test_heatmap_peaks_on_the_object_and_is_made_only_when_asked(detector, square_frame, squares):
    detector.set_template([photo(square_frame, "blue", squares)], "blue")
    frame = square_frame("red", "blue")
    assert detector.detect(frame).heatmaps == {}
    heatmap = detector.detect(frame, heatmaps=True).heatmaps["blue"]
    row, column = np.unravel_index(heatmap.argmax(), heatmap.shape)
    x, y = squares["blue"]
    assert (column + 0.5) * 320 / heatmap.shape[1] == pytest.approx(x + 16, abs=8)
    assert (row + 0.5) * 240 / heatmap.shape[0] == pytest.approx(y + 16, abs=8)


def test_swapping_under_load_never_mixes_templates(detector, square_frame, squares):
    """A frame of all colours must give the square of the template its bank version had."""
    frame = square_frame("red", "green")
    detector.set_template([photo(square_frame, "red", squares)], "target")
    colour_of_version = {detector.bank.version: "red"}
    stop = threading.Event()
    results, failures = [], []

    def search():
        try:
            while not stop.is_set():
                results.append(detector.detect(frame))
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=search)
    thread.start()
    for number in range(5000):
        if len(results) > 40 or failures:
            break
        colour = ("red", "green")[number % 2]
        detector.set_template([photo(square_frame, colour, squares)], "target")
        colour_of_version[detector.bank.version] = colour
    stop.set()
    thread.join()
    assert not failures
    seen = set()
    for result in results:
        for detection in result.detections:
            x, y = squares[colour_of_version[result.bank_version]]
            assert tuple(round(v) for v in detection.bbox_xyxy) == (x, y, x + 32, y + 32)
            seen.add(result.bank_version)
    assert len(seen) > 3  # the swaps did happen between frames


def test_unknown_and_unavailable_backends_are_named(colour_bundle):
    with pytest.raises(ConfigError, match="valid are auto, onnxruntime, tensorrt, torch"):
        Detector.open(colour_bundle, backend="openvino")
    with fake_cuda.nothing_installed():
        with pytest.raises(BackendError, match="tensorrt backend needs the Python package"):
            Detector.open(colour_bundle, backend="tensorrt")
        with Detector.open(colour_bundle, backend="auto") as detector:
            assert detector.backend.info.name == "onnxruntime"


@pytest.fixture
def faults(tmp_path, monkeypatch):
    """Folder of commands for the faulty backend, which every detector of the test opens."""
    faulty_backend = pytest.importorskip("faulty_backend")
    monkeypatch.setattr("refdet_core.backends._CLASSES", dict(backends._CLASSES))
    faulty_backend.install(tmp_path)
    return tmp_path


@pytest.fixture
def frail(faults, colour_bundle):
    with Detector.open(colour_bundle, backend="onnxruntime") as opened:
        yield opened


@pytest.mark.parametrize("append", [False, True])
def test_a_bank_that_does_not_fit_is_refused_and_the_old_one_works(
    faults, frail, square_frame, squares, append
):
    frail.configure(DetectorConfig(reference_pooling="best_view", search="auto"))
    frail.set_template([photo(square_frame, "red", squares)], "thing")
    x, y = squares["red"]
    frail.lock("thing", (x, y, x + 32, y + 32))
    frame = square_frame("red", "blue")
    before, tracked = frail.bank, frail.detect(frame).detections
    assert tracked[0].track_id == 1
    (faults / "room").write_text("1")
    blue = photo(square_frame, "blue", squares)
    with pytest.raises(OutOfMemoryError, match="no memory left"):
        frail.set_template([blue, blue], "thing", append=append)
    with pytest.raises(OutOfMemoryError):
        frail.set_template([blue], "another")
    assert frail.bank is before
    # Also the track goes on: nothing was forgotten.
    assert [each.track_id for each in frail.detect(frame).detections] == [1]
    (faults / "room").unlink()
    frail.set_template([blue], "another")
    assert set(frail.bank.templates) == {"thing", "another"}


def test_a_lost_device_is_opened_again_with_all_templates(faults, frail, square_frame, squares):
    references = [photo(square_frame, colour, squares) for colour in ("red", "blue")]
    frail.configure(DetectorConfig(reference_pooling="best_view"))
    frail.set_template(references[:1], "thing")
    frail.set_template(references[1:], "thing", append=True)
    frail.set_template([photo(square_frame, "green", squares)], "green")
    frame = square_frame(*squares)
    before, found_before = frail.bank, frail.detect(frame).detections
    assert found_before
    (faults / "lost").touch()
    with pytest.raises(DeviceLostError, match="719"):
        frail.detect(frame)
    with pytest.raises(BackendError, match="no GPU"):  # it is not there yet
        frail.reopen()
    (faults / "lost").unlink()
    frail.reopen()
    result = frail.detect(frame)
    assert result.detections == found_before
    assert result.bank_version == frail.bank.version > before.version
    after = frail.bank.templates
    assert list(after) == ["thing", "green"]
    for name, template in before.templates.items():
        assert after[name].thumbnails_bgr is template.thumbnails_bgr
        assert after[name].box_corrections is template.box_corrections
        assert after[name].created_s == template.created_s
    first, second = type(frail.backend).opened
    assert first.closed and not second.closed and frail.backend is second


@pytest.mark.parametrize("update_s", [0.0, 0.01])
def test_a_track_goes_on_after_the_device_was_lost_and_ids_are_not_given_twice(
    faults, frail, square_frame, squares, update_s
):
    frail.configure(DetectorConfig(search="auto", track_update_s=update_s))
    frail.set_template([photo(square_frame, "red", squares)], "red")
    x, y = squares["red"]
    frail.lock("red", (x, y, x + 32, y + 32))
    frame = square_frame("red")
    for number in range(4):
        assert frail.detect(frame, time_s=number / 10).detections[0].track_id == 1
    (faults / "lost").touch()
    with pytest.raises(DeviceLostError):
        frail.detect(frame, time_s=0.4)
    (faults / "lost").unlink()
    frail.reopen()
    assert frail.detect(frame, time_s=0.5).detections[0].track_id == 1
    frail.lock("red", (x, y, x + 32, y + 32))
    assert frail.detect(frame, time_s=0.6).detections[0].track_id == 2


def test_auto_does_not_go_on_without_the_lost_device(faults, colour_bundle, monkeypatch):
    import faulty_backend

    class OnGpu(faulty_backend.FaultyBackend):
        name = "tensorrt"

    monkeypatch.setattr(faulty_backend, "OnGpu", OnGpu, raising=False)
    monkeypatch.setitem(backends._CLASSES, "tensorrt", ("faulty_backend", "OnGpu"))
    monkeypatch.setattr(backends, "has_tensorrt", lambda: True)
    with Detector.open(colour_bundle, backend="auto") as detector:
        assert type(detector.backend) is OnGpu
        monkeypatch.setattr(backends, "has_tensorrt", lambda: False)
        (faults / "lost").touch()
        with pytest.raises(BackendError, match="no GPU"):
            detector.reopen()
        (faults / "lost").unlink()
        detector.reopen()
        assert type(detector.backend) is OnGpu


def test_what_cannot_be_encoded_again_leaves_nothing_open(faults, frail, square_frame, squares):
    for colour in ("red", "green"):
        frail.set_template([photo(square_frame, colour, squares)], colour)
    (faults / "room").write_text("1")
    with pytest.raises(OutOfMemoryError):
        frail.reopen()
    assert [backend.closed for backend in type(frail.backend).opened] == [True, True]
    (faults / "room").unlink()
    frail.reopen()
    assert set(found(frail.detect(square_frame("red", "green")))) == {"red", "green"}


def test_a_changed_photo_does_not_change_the_template(detector, square_frame, squares):
    """A camera driver may write the next frame into the same memory."""
    size = detector.bundle.template_size
    image = np.zeros((size, size, 3), np.uint8)
    image[...] = (0, 0, 255)
    template = detector.set_template([Reference(image)], "red")
    image[...] = 0
    (crop,) = template.crops_bgr
    assert crop.shape == (size, size, 3) and (crop == (0, 0, 255)).all()


def test_a_detector_around_an_open_backend_cannot_open_another(detector):
    other = Detector(detector.bundle, detector.backend, detector.config)
    with pytest.raises(RefdetError, match="cannot open another"):
        other.reopen()


class TestObjectSize:
    @pytest.fixture
    def crops(self, detector, monkeypatch):
        """Everything the network is shown, in order."""
        shown = []
        preprocess = detector.backend.preprocess

        def watched(frame_bgr, crops):
            shown.extend(crops)
            return preprocess(frame_bgr, crops)

        monkeypatch.setattr(detector.backend, "preprocess", watched)
        return shown

    def test_of_a_frame_of_the_same_camera_decides_the_scale(self, detector, square_frame, crops):
        frame = square_frame("red", size=(1280, 720))
        for side, expected in ((24, {2.0, 0.5}), (48, {1.0, 0.25}), (192, {0.25})):
            box_xyxy = (600, 300, 600 + side, 300 + side)
            detector.set_template([Reference(frame, box_xyxy, same_camera=True)], "car")
            crops.clear()
            detector.detect(frame)
            assert {round(crop.out_width / crop.width, 2) for crop in crops} == expected

    def test_of_a_photo_says_nothing(self, detector, square_frame, crops):
        frame, scales = square_frame("red", size=(1280, 720)), []
        for side in (24, 192):
            detector.set_template([Reference(frame, (600, 300, 600 + side, 300 + side))], "car")
            crops.clear()
            detector.detect(frame)
            scales.append({round(crop.out_width / crop.width, 2) for crop in crops})
        assert scales[0] == scales[1] == {1.41, 0.35}

    def test_is_that_of_all_references_of_this_camera(self, detector, square_frame):
        frame = square_frame("red", size=(640, 480))
        photo = Reference(frame, (0, 0, 300, 300))
        template = detector.set_template([photo], "car")
        assert template.camera_sizes_px == template.camera_colours == ()
        for x2, y2 in ((110, 140), (120, 180)):
            reference = Reference(frame, (100, 100, x2, y2), same_camera=True)
            template = detector.set_template([reference], "car", append=True)
        assert template.camera_sizes_px == (20.0, 40.0)
        assert len(template.camera_colours) == 2


def test_a_small_object_is_reported_in_the_very_frame_its_reference_was_cut_from():
    video = DATA / "aerial_sequences" / "car16.mp4"
    if not video.is_file():
        pytest.skip("the footage is not there")
    frame_bgr = cv2.VideoCapture(str(video)).read()[1]
    box_xyxy = (555.0, 252.0, 577.0, 268.0)
    with Detector.open() as released:
        for same_camera in (True, False):
            released.set_template([Reference(frame_bgr, box_xyxy, same_camera)])
            (detection,) = released.detect(frame_bgr).detections
            assert box_iou(detection.bbox_xyxy, box_xyxy) > 0.5
