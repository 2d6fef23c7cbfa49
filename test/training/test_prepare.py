"""`refdet-train prepare` on tiny made data: what comes out, and what broken data does to it."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")  # like all of test/training: not on the Jetson's Python
pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

import pandas as pd

from refdet_core.errors import ConfigError, SourceError
from refdet_training.cli import main
from refdet_training.commands import prepare as command
from refdet_training.datasets import frames as frame_stage
from refdet_training.datasets.box_hygiene import clean_box
from refdet_training.datasets.index import load_instances, load_splits
from refdet_training.datasets.instance import FrameRef
from refdet_training.datasets.prepare import PrepareSettings, prepare

SIZE = (64, 48)  # width, height


def noise(seed):
    small = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(small, SIZE, interpolation=cv2.INTER_NEAREST)


def movie(path, seed, frames=10):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, SIZE)
    for number in range(frames):
        writer.write(noise(1000 * seed + number))
    writer.release()


def box(number, x1=10, y1=8, x2=20, y2=16):
    return {"frame": number, "x1": x1, "y1": y1, "x2": x2, "y2": y2}


def entry(name, boxes, span=(0, 9)):
    item = {"object_id": f"{name}_1", "labelled_frames": list(span), "bboxes": boxes}
    size = {"width": SIZE[0], "height": SIZE[1]}
    return {"video_id": name, **size, "frames": 10, "annotations": [item]}


@pytest.fixture()
def videos(tmp_path):
    """Three videos; the object of each is absent in frame 4."""
    folder = tmp_path / "flights"
    folder.mkdir()
    entries = []
    for seed, name in enumerate(("car1", "car2", "boat1"), start=1):
        movie(folder / f"{name}.mp4", seed)
        entries.append(entry(name, [box(n) for n in range(10) if n != 4]))
    (folder / "annotations.json").write_text(json.dumps(entries))
    return folder


def relabel(folder, change):
    path = folder / "annotations.json"
    entries = json.loads(path.read_text())
    change(entries)
    path.write_text(json.dumps(entries))


def run(folder, tmp_path, **settings):
    return prepare(PrepareSettings(folder, tmp_path / "prepared", **settings))


def photos(root, names, labels="0 0.5 0.5 0.25 0.25\n", suffix=".jpg"):
    root.mkdir()
    for seed, name in enumerate(names):
        cv2.imwrite(str(root / f"{name}{suffix}"), noise(seed))
        (root / f"{name}.txt").write_text(labels)
    return root


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_prepared_videos_can_be_loaded(videos, tmp_path):
    manifest = run(videos, tmp_path, kind_pattern="^([a-z]+)", val_share=0.34)
    counts = {"videos": 3, "frames": 30, "instances": 3, "boxes": 27, "absent_frames": 3}
    assert manifest["counts"] == counts
    assert manifest["problems"] == {}
    assert manifest["by_split"]["val"]["videos"] == 1
    assert manifest["by_kind"]["car"]["boxes"] == 18
    # 10 x 8 px: the square root of 80 is 8.9
    assert manifest["box_size_px"]["median"] == 8.9
    assert {"from": 8, "to": 12, "boxes": 27} in manifest["box_size_px"]["boxes_by_size"]
    instances = {item.video_id: item for item in load_instances(tmp_path / "prepared")}
    car = instances["car1"]
    assert (car.object_id, car.source, car.family, car.kind) == ("car1_1", "flights", "car1", "car")
    assert car.present == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert sorted(car.frames) == list(range(10))
    assert car.boxes_xyxy[3] == (10, 8, 20, 16)
    assert np.abs(car.read(3).astype(int) - noise(1003)).mean() < 12
    splits = load_splits(tmp_path / "prepared" / "flights")
    assert sorted(splits["train"] + splits["val"]) == ["boat1", "car1", "car2"]
    sheet = cv2.imread(str(tmp_path / "prepared" / "flights" / "contact_sheet.jpg"))
    assert sheet.shape[1] > 1000
    assert sheet.max() > 200


def test_every_nth_frame(videos, tmp_path):
    run(videos, tmp_path, every=3)
    (item, *_) = load_instances(tmp_path / "prepared")
    assert sorted(item.frames) == [0, 3, 6, 9]
    pictures = files_below(tmp_path / "prepared" / "flights" / "frames" / "car1")
    assert pictures == [f"{number:06d}.jpg" for number in (0, 3, 6, 9)]


def test_frames_that_no_label_needs_are_not_stored(videos, tmp_path):
    def narrow(entries):
        entries[0] = entry("car1", [box(3), box(5)], span=(3, 5))

    relabel(videos, narrow)
    run(videos, tmp_path)
    assert len(files_below(tmp_path / "prepared" / "flights" / "frames" / "car1")) == 3


def test_a_split_of_one_video_is_pointed_out(videos, tmp_path, capsys):
    start = ["prepare", "--data", str(videos), "--output", str(tmp_path / "prepared")]
    assert main([*start, "--val-share", "0", "--tune", "car1"]) == 0
    shown = capsys.readouterr()
    assert "'tune' has one video" in shown.err and "'val'" not in shown.err
    assert "manifest.json" in shown.out and "contact_sheet.jpg" in shown.out


def test_a_named_group_of_a_pattern_stands_for_its_name(videos, tmp_path):
    pattern = "^(?:(?P<vehicle>car|boat)|(x))"
    run(
        videos,
        tmp_path,
        val_share=0,
        family_pattern=pattern,
        kind_pattern="(?P<ship>boat)|([a-z]+)",
    )
    found = load_instances(tmp_path / "prepared")
    assert {item.family for item in found} == {"vehicle"}
    assert sorted(item.kind for item in found) == ["car", "car", "ship"]


def test_raw_mode_stores_the_decoded_pixels(videos, tmp_path):
    run(videos, tmp_path, frames="raw")
    item = next(i for i in load_instances(tmp_path / "prepared") if i.video_id == "car1")
    decoder = cv2.VideoCapture(str(videos / "car1.mp4"))
    for number in range(3):
        assert np.array_equal(item.read(number), decoder.read()[1])
    item.frames[2].path.write_bytes(b"half")
    with pytest.raises(SourceError, match=r"Cannot read .*run 'refdet-train prepare' again"):
        item.read(2)


def test_video_mode_points_at_the_frames_that_decoding_in_order_gives(videos, tmp_path):
    run(videos, tmp_path, frames="video")
    item = next(i for i in load_instances(tmp_path / "prepared") if i.video_id == "car2")
    assert not (tmp_path / "prepared" / "flights" / "frames").exists()
    decoder = cv2.VideoCapture(str(videos / "car2.mp4"))
    in_order = [decoder.read()[1] for _ in range(10)]
    for number in (7, 2, 3, 9, 0):
        np.testing.assert_array_equal(item.read(number), in_order[number])


def test_a_video_in_which_seeking_lies_is_stored_as_pictures(videos, tmp_path, monkeypatch):
    read = FrameRef.read

    def one_late(self):
        wrong = None if self.video_frame is None else self.video_frame - 1
        return read(FrameRef(self.path, wrong))

    monkeypatch.setattr(FrameRef, "read", one_late)
    manifest = run(videos, tmp_path, frames="video")
    assert manifest["problems"]["seek_inexact"]["count"] == 3
    table = pd.read_parquet(tmp_path / "prepared" / "flights" / "index.parquet")
    assert set(table["video_frame"]) == {-1}
    assert manifest["counts"]["frames"] == 30


def test_second_run_does_nothing_again_and_says_the_same(videos, tmp_path):
    (videos / "car2.mp4").write_bytes(b"not a video")
    first = run(videos, tmp_path)
    folder = tmp_path / "prepared" / "flights" / "frames"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.jpg")}
    assert run(videos, tmp_path) == first
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.jpg")} == before
    assert first["problems"]["video_unreadable"]["count"] == 1


def test_changed_settings_or_sources_are_made_again(videos, tmp_path):
    run(videos, tmp_path)
    picture = tmp_path / "prepared" / "flights" / "frames" / "car1" / "000003.jpg"
    fine = picture.stat().st_size
    run(videos, tmp_path, quality=20)
    assert picture.stat().st_size < fine
    movie(videos / "car1.mp4", seed=77)
    run(videos, tmp_path, quality=20)
    assert np.abs(cv2.imread(str(picture)).astype(int) - noise(77003)).mean() < 25


def test_an_interrupted_run_is_taken_up(videos, tmp_path, monkeypatch):
    write, written = frame_stage.write_whole, []

    def interrupted(target, content):
        if len(written) == 14:  # in the middle of the second video
            target.write_bytes(content[: len(content) // 2])
            raise KeyboardInterrupt
        written.append(target)
        write(target, content)

    with monkeypatch.context() as patch:
        patch.setattr(frame_stage, "write_whole", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(videos, tmp_path)
    folder = tmp_path / "prepared" / "flights"
    assert not (folder / "index.parquet").exists()
    with (folder / "frames.jsonl").open("a") as journal:
        journal.write('\n{"video_id": "car2", "fingerp')
    first_video = {path: path.stat().st_mtime_ns for path in (folder / "frames" / "car1").iterdir()}
    manifest = run(videos, tmp_path)
    assert manifest["counts"]["frames"] == 30
    assert manifest["problems"] == {}
    after = {path: path.stat().st_mtime_ns for path in (folder / "frames" / "car1").iterdir()}
    assert after == first_video
    for item in load_instances(tmp_path / "prepared"):
        for number in item.frames:
            assert item.read(number).shape == (48, 64, 3)
            assert item.frames[number].path.read_bytes().endswith(b"\xff\xd9")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("frames/*/*.jpg")}
    run(videos, tmp_path)  # the half line has not swallowed the line after it
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_deleted_frame_is_made_again(videos, tmp_path):
    run(videos, tmp_path)
    picture = tmp_path / "prepared" / "flights" / "frames" / "car1" / "000003.jpg"
    picture.unlink()
    run(videos, tmp_path)
    assert picture.exists()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((10, 8, 20, 16), ((10, 8, 20, 16), "")),
        ((0, 0, 64, 48), ((0, 0, 64, 48), "")),
        ((-5, 8, 20, 50), ((0, 8, 20, 48), "box_clipped")),
        ((-0.2, 8, 20, 48.3), ((0, 8, 20, 48), "")),  # rounding
        ((64, 8, 80, 16), (None, "box_outside")),
        ((63.5, 8, 80, 16), (None, "box_outside")),  # half a pixel is left
        ((-20, -20, -5, -5), (None, "box_outside")),
        ((10, 8, 10, 16), (None, "box_empty")),
        ((20, 8, 10, 16), (None, "box_empty")),
        ((10, float("nan"), 20, 16), (None, "box_not_a_number")),
        ((10, 8, float("inf"), 16), (None, "box_not_a_number")),
        ((10, 8, 10.5, 8.5), ((10, 8, 10.5, 8.5), "")),  # tiny, but inside
    ],
)
def test_clean_box(given, expected):
    assert clean_box(given, *SIZE) == expected


def test_bad_boxes_are_counted_listed_and_their_frames_left_unknown(videos, tmp_path, capsys):
    def spoil(entries):
        entries[0] = entry(
            "car1",
            [
                box(0),
                box(1, x2=90),
                box(2, x1=70, x2=90),
                box(3, x2=10),
                box(5, x1=float("nan")),
            ],
        )

    relabel(videos, spoil)
    manifest = run(videos, tmp_path)
    problems = manifest["problems"]
    kinds = ("box_clipped", "box_outside", "box_empty", "box_not_a_number")
    assert {kind: problems[kind]["count"] for kind in kinds} == dict.fromkeys(kinds, 1)
    example = problems["box_outside"]["examples"][0]
    assert (example["where"], example["frame"]) == (str(videos / "annotations.json"), 2)
    item = next(i for i in load_instances(tmp_path / "prepared") if i.video_id == "car1")
    assert item.present == [0, 1]
    assert item.boxes_xyxy[1] == (10, 8, 64, 16)
    assert sorted(item.frames) == [0, 1, 4, 6, 7, 8, 9]  # 2, 3 and 5 are unknown, not absent
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("4 problems, listed in")
    assert "manifest.json" in message


def test_long_lists_keep_their_count_and_first_examples(videos, tmp_path):
    relabel(videos, lambda entries: [box.update(x2=90) for e in entries for a in e["annotations"]
                                     for box in a["bboxes"]])  # fmt: skip
    problem = run(videos, tmp_path)["problems"]["box_clipped"]
    assert (problem["count"], len(problem["examples"])) == (27, 20)


def test_a_video_that_ends_early_keeps_what_it_has(videos, tmp_path):
    movie(videos / "car1.mp4", seed=1, frames=6)
    manifest = run(videos, tmp_path)
    problem = manifest["problems"]["video_ends_early"]
    assert problem["count"] == 1
    expected = {"where": str(videos / "car1.mp4"), "frame": 6, "detail": "4 frames are lost"}
    assert expected.items() <= problem["examples"][0].items()
    item = next(i for i in load_instances(tmp_path / "prepared") if i.video_id == "car1")
    assert sorted(item.frames) == [0, 1, 2, 3, 4, 5]


def test_missing_and_cut_off_videos_are_listed(videos, tmp_path):
    (videos / "car1.mp4").unlink()
    content = (videos / "car2.mp4").read_bytes()
    (videos / "car2.mp4").write_bytes(content[: len(content) // 2])
    manifest = run(videos, tmp_path, val_share=0)
    assert manifest["counts"]["videos"] == 1
    assert manifest["problems"]["frame_missing"]["count"] == 1
    assert manifest["problems"]["video_unreadable"]["count"] == 1


def test_frames_of_another_size_than_labelled_are_left_out(videos, tmp_path):
    relabel(videos, lambda entries: entries[0].update(width=128))
    manifest = run(videos, tmp_path)
    assert manifest["problems"]["frame_size"]["count"] == 10
    assert manifest["counts"]["videos"] == 2


def test_damaged_photos_are_listed_and_the_others_kept(tmp_path):
    folder = photos(tmp_path / "cars", "abcdef")
    whole = (folder / "a.jpg").read_bytes()
    (folder / "a.jpg").write_bytes(whole[: len(whole) // 2])  # imread shows it half grey
    (folder / "b.jpg").write_bytes(b"")
    (folder / "c.jpg").write_bytes(b"no picture at all")
    manifest = run(folder, tmp_path)
    problem = manifest["problems"]["frame_unreadable"]
    assert problem["count"] == 3
    assert [item["where"] for item in problem["examples"]] == [
        str(folder / name) for name in ("a.jpg", "b.jpg", "c.jpg")
    ]
    assert manifest["counts"]["videos"] == 3


def test_photos_are_copied_byte_for_byte_and_boxes_become_pixels(tmp_path):
    folder = photos(tmp_path / "cars", "ab", "0 0.5 0.5 0.25 0.5\n")
    run(folder, tmp_path, val_share=0.5)
    (item, _) = load_instances(tmp_path / "prepared")
    assert item.boxes_xyxy == {0: (24, 12, 40, 36)}
    assert item.frames[0].path.read_bytes() == (folder / "a.jpg").read_bytes()


def test_photos_of_other_formats_are_written_as_jpeg(tmp_path):
    folder = photos(tmp_path / "cars", "ab", suffix=".png")
    run(folder, tmp_path, quality=100)
    (item, _) = load_instances(tmp_path / "prepared")
    assert item.frames[0].path.suffix == ".jpg"
    assert np.abs(item.read(0).astype(int) - noise(0)).mean() < 8


def test_video_mode_leaves_photos_where_they_are(tmp_path):
    folder = photos(tmp_path / "cars", "ab", suffix=".png")
    run(folder, tmp_path, frames="video")
    (item, _) = load_instances(tmp_path / "prepared")
    assert item.frames[0].path == folder / "a.png"
    np.testing.assert_array_equal(item.read(0), noise(0))


def test_nothing_usable_is_an_error_that_says_what_was_found(tmp_path):
    folder = photos(tmp_path / "cars", "ab", "0 3 3 0.1 0.1\n0 1.5 1.5 0.1 0.1\n")
    with pytest.raises(SourceError, match=r"Nothing in .* is usable as 'yolo'.*outside the frame"):
        run(folder, tmp_path, format="yolo")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="looks like none of the known formats"):
        run(tmp_path / "empty", tmp_path)
    with pytest.raises(SourceError, match="It has no labels"):
        run(tmp_path / "empty", tmp_path, format="yolo")
    assert not (tmp_path / "prepared" / "cars" / "index.parquet").exists()


def test_given_splits_tune_and_a_straddling_family(videos, tmp_path, capsys):
    lists = {"train": ["car1", "boat1"], "val": ["car2", "gone"]}
    path = tmp_path / "splits.json"
    path.write_text(json.dumps({"flights": lists}))
    manifest = run(
        videos, tmp_path, splits=path, tune=("boat1",), family_pattern="^(car)", name="renamed"
    )
    folder = tmp_path / "prepared" / "renamed"
    assert load_splits(folder) == {"train": ["car1"], "tune": ["boat1"], "val": ["car2"]}
    missing, family = manifest["warnings"]
    assert "gone" in missing
    assert "'car1' and 'car2'" in family
    assert "'car1' and 'car2'" in capsys.readouterr().err
    families = {i.video_id: i.family for i in load_instances(tmp_path / "prepared")}
    assert families == {"car1": "car", "car2": "car", "boat1": "boat1"}


def test_the_same_pictures_under_two_names_are_refused(videos, tmp_path):
    (videos / "car2.mp4").write_bytes((videos / "car1.mp4").read_bytes())
    path = tmp_path / "splits.json"
    path.write_text(json.dumps({"train": ["car1", "boat1"], "val": ["car2"]}))
    with pytest.raises(SourceError, match="same frames are in two splits: 'car1' and 'car2'"):
        run(videos, tmp_path, splits=path)
    assert not (tmp_path / "prepared" / "flights" / "index.parquet").exists()
    run(videos, tmp_path)  # made here, the splits keep them together
    splits = load_splits(tmp_path / "prepared" / "flights")
    assert {"car1", "car2"} in (set(splits["train"]), set(splits["val"]))


def test_frames_of_one_colour_are_no_leak(tmp_path):
    folder = photos(tmp_path / "cars", "ab")
    for name in "ab":
        cv2.imwrite(str(folder / f"{name}.jpg"), np.zeros((48, 64, 3), np.uint8))
    path = tmp_path / "splits.json"
    path.write_text(json.dumps({"train": ["a"], "val": ["b"]}))
    assert run(folder, tmp_path, splits=path)["warnings"] == []


def test_flat_layout(videos, tmp_path):
    path = tmp_path / "splits.json"
    path.write_text(json.dumps({"train": ["car1", "boat1"], "val": ["car2"]}))
    run(videos, tmp_path, splits=path, layout="refdet_flat", every=2)
    flat = tmp_path / "prepared" / "flights" / "refdet_flat"
    assert files_below(flat / "val") == [
        *(f"search/images/car2_1__{number:06d}.jpg" for number in (2, 4, 6, 8)),
        *(f"search/labels/car2_1__{number:06d}.txt" for number in (2, 4, 6, 8)),
        "templates/car2_1.jpg",
    ]
    assert len(files_below(flat / "train" / "templates")) == 2
    assert cv2.imread(str(flat / "val" / "templates" / "car2_1.jpg")).shape == (8, 10, 3)
    assert cv2.imread(str(flat / "val/search/images/car2_1__000002.jpg")).shape == (48, 64, 3)
    label = (flat / "val/search/labels/car2_1__000002.txt").read_text().split()
    assert label[0] == "0"
    # centre (15, 12), size (10, 8) of 64 x 48
    expected = (15 / 64, 12 / 48, 10 / 64, 8 / 48)
    assert [float(value) for value in label[1:]] == pytest.approx(expected, abs=1e-6)
    assert (flat / "val/search/labels/car2_1__000004.txt").read_text() == ""


def test_flat_layout_of_a_photo_searches_the_photo_itself(tmp_path):
    folder = photos(tmp_path / "cars", "ab")
    run(folder, tmp_path, layout="refdet_flat", frames="video")
    flat = tmp_path / "prepared" / "cars" / "refdet_flat"
    assert len(files_below(flat)) == 6
    (picture,) = flat.glob("*/search/images/a_0__000000.jpg")
    assert picture.stat().st_ino != (folder / "a.jpg").stat().st_ino


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": "gif"}, r"no frames 'gif'.*'jpeg', 'raw', 'video'"),
        ({"layout": "voc"}, r"no layout 'voc'.*'index', 'refdet_flat'"),
        ({"val_share": 1.0}, "val_share must be"),
        ({"every": 0}, "every must be"),
        ({"quality": 0}, "quality must be"),
        ({"family_pattern": "("}, "family_pattern is not a regular expression"),
    ],
)
def test_wrong_settings_are_refused(tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        PrepareSettings(tmp_path / "a", tmp_path / "b", **settings)


def test_output_must_not_be_the_source(videos):
    with pytest.raises(ConfigError, match="own folder"):
        PrepareSettings(videos, videos.parent)


def test_names_that_leave_the_folder_are_not_followed(videos, tmp_path):
    relabel(videos, lambda entries: entries[0].update(video_id="../outside"))
    manifest = run(videos, tmp_path)
    assert manifest["problems"]["label_malformed"]["count"] == 1
    assert manifest["counts"]["videos"] == 2


@pytest.mark.parametrize("open_before", [0, 20])
def test_an_open_video_is_not_shared_with_a_forked_process(videos, tmp_path, open_before):
    for number in range(open_before):
        FrameRef(shutil.copy(videos / "car1.mp4", tmp_path / f"{number}.mp4"), 0).read()
    ref = FrameRef(videos / "car1.mp4", 3)
    expected = ref.read()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # pytest-timeout has its own
        signal.alarm(20)  # the parent's decoder has threads that no fork takes along: it hangs
        same = np.array_equal(FrameRef(ref.path, 8).read(), expected)
        os._exit(1 if same else 0)
    following = FrameRef(ref.path, 4).read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    decoder = cv2.VideoCapture(str(ref.path))
    np.testing.assert_array_equal(following, [decoder.read()[1] for _ in range(5)][4])


def test_command_line(videos, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    prepared = tmp_path / "prepared"
    words = f"--data {videos} --output {prepared} --every 5 --name mine --val-share 0.34"
    command.run(parser.parse_args(words.split()))
    output = capsys.readouterr().out
    assert "format 'refdet'" in output
    assert "3 videos  6 frames  3 instances  6 boxes" in output
    assert (prepared / "mine" / "index.parquet").exists()
    with pytest.raises(ConfigError, match="no format 'voc'"):
        command.run(parser.parse_args([*words.split(), "--format", "voc"]))
