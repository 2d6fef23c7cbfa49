"""Readers of the formats people have: hand-made labels, hand-computed boxes."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")  # like all of test/training: not on the Jetson's Python
pytest.importorskip("pandas")

from refdet_core.errors import ConfigError, SourceError
from refdet_training.datasets.problems import Problems
from refdet_training.datasets.readers import FORMATS, find_format

SIZE = (40, 30)  # width, height


def picture(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    cv2.imwrite(str(path), noise)


def read(name, folder):
    problems = Problems()
    return list(FORMATS[name].read(folder, problems)), problems


def lasot(root, lines, occluded=None, outside=None, pictures=None):
    folder = root / "car" / "car-3"
    for number in range(1, (pictures or len(lines)) + 1):
        picture(folder / "img" / f"{number:08d}.jpg", number)
    (folder / "groundtruth.txt").write_text("\n".join(lines) + "\n")
    zeros = [0] * len(lines)
    (folder / "full_occlusion.txt").write_text(",".join(map(str, occluded or zeros)) + "\n")
    (folder / "out_of_view.txt").write_text(",".join(map(str, outside or zeros)) + "\n")
    return folder


def got10k(root, lines, name="GOT-10k_Train_000001"):
    folder = root / name
    for number in range(1, len(lines) + 1):
        picture(folder / f"{number:08d}.jpg", number)
    (folder / "groundtruth.txt").write_text("\n".join(lines) + "\n")
    (folder / "absence.label").write_text("\n".join(["0"] * len(lines)) + "\n")
    (folder / "cover.label").write_text("\n".join(["8"] * len(lines)) + "\n")
    (folder / "meta_info.ini").write_text("[METAINFO]\nobject_class: zebra\nvideo: 100%\n")
    return folder


def mot(root, lines, name="MOT17-02-DPM", frames=3):
    folder = root / name
    for number in range(1, frames + 1):
        picture(folder / "img1" / f"{number:06d}.jpg", number)
    (folder / "gt").mkdir()
    (folder / "gt" / "gt.txt").write_text("\n".join(lines) + "\n")
    (folder / "seqinfo.ini").write_text(f"[Sequence]\nname={name}\nimDir=img1\n")
    return folder


def coco(root, annotations, image=None):
    (root / "annotations").mkdir(parents=True)
    picture(root / "train2017" / "000001.jpg")
    content = {
        "images": [
            {"id": 7, "file_name": "000001.jpg", "width": 40, "height": 30, **(image or {})}
        ],
        "annotations": annotations,
        "categories": [{"id": 3, "name": "truck"}],
    }
    (root / "annotations" / "instances_train2017.json").write_text(json.dumps(content))


def refdet(root, annotations, **entry):
    root.mkdir(parents=True, exist_ok=True)
    video = {"video_id": "a", "width": 40, "height": 30, "frames": 6, **entry}
    (root / "annotations.json").write_text(json.dumps([{**video, "annotations": annotations}]))


def test_lasot_counts_pixels_from_one_and_hides_flagged_frames(tmp_path):
    lines = ["11,6,10,8", "12,6,10,8", "13,6,10,8", "0,0,0,0", "NaN,NaN,NaN,NaN"]
    lasot(tmp_path, lines, occluded=[0, 1, 0, 0, 0], outside=[0, 0, 1, 0, 0])
    (video,), problems = read("lasot", tmp_path)
    (track,) = video.objects
    assert (video.video_id, track.object_id, track.kind) == ("car-3", "car-3", "car")
    assert track.boxes_xyxy == {0: (10, 5, 20, 13)}
    assert sorted(track.labelled) == [0, 1, 2, 3, 4]
    assert len(problems) == 0


def test_lasot_without_flag_files_and_in_one_folder(tmp_path):
    folder = lasot(tmp_path, ["1,1,4,4"])
    (folder / "full_occlusion.txt").unlink()
    (folder / "out_of_view.txt").unlink()
    (video,), problems = read("lasot", folder.parent)
    assert video.objects[0].boxes_xyxy == {0: (0, 0, 4, 4)}
    assert len(problems) == 0


def test_a_missing_picture_does_not_shift_the_labels(tmp_path):
    folder = lasot(tmp_path, ["1,1,4,4", "2,1,4,4", "3,1,4,4"])
    (folder / "img" / "00000002.jpg").unlink()
    (video,), _ = read("lasot", tmp_path)
    assert sorted(video.frames) == [0, 2]
    assert video.frames[2].path.name == "00000003.jpg"


def test_a_sequence_cut_from_a_longer_one_keeps_its_order(tmp_path):
    folder = lasot(tmp_path, ["1,1,4,4", "2,1,4,4"])
    for number in (1, 2):
        (folder / "img" / f"{number:08d}.jpg").rename(folder / "img" / f"{number + 522:08d}.jpg")
    (video,), _ = read("lasot", tmp_path)
    assert [video.frames[number].path.stem for number in (0, 1)] == ["00000523", "00000524"]


def test_fewer_lines_or_flags_than_pictures_leave_the_rest_unknown(tmp_path):
    folder = lasot(tmp_path, ["1,1,4,4", "2,1,4,4"], occluded=[0], pictures=4)
    (video,), problems = read("lasot", tmp_path)
    assert sorted(video.objects[0].labelled) == [0]
    assert problems.count("label_missing") == 2
    wheres = [item["where"] for item in problems.as_json()["label_missing"]["examples"]]
    assert wheres == [str(folder / "full_occlusion.txt"), str(folder / "groundtruth.txt")]


def test_a_line_that_is_no_box_makes_only_its_frame_unknown(tmp_path):
    lasot(tmp_path, ["1,1,4,4", "what,is,this,?", "3,1,4,4"])
    (video,), problems = read("lasot", tmp_path)
    assert sorted(video.objects[0].labelled) == [0, 2]
    assert problems.as_json()["label_malformed"]["examples"][0]["frame"] == 1


def test_got10k(tmp_path):
    folder = got10k(tmp_path / "val", ["10.5,5.0,10.0,8.0"] * 3)
    (folder / "absence.label").write_text("0\n1\n0\n")
    (folder / "cover.label").write_text("8\n8\n0\n")
    (video,), problems = read("got10k", tmp_path)
    (track,) = video.objects
    assert track.boxes_xyxy == {0: (10.5, 5, 20.5, 13)}
    assert sorted(track.labelled) == [0, 1, 2]
    assert (track.kind, video.split) == ("zebra", "val")
    assert len(problems) == 0


def test_got10k_test_sequence_has_only_its_first_box(tmp_path):
    folder = got10k(tmp_path / "test", ["1,1,4,4"] * 3)
    (folder / "groundtruth.txt").write_text("1,1,4,4\n")
    for name in ("absence.label", "cover.label", "meta_info.ini"):
        (folder / name).unlink()
    (video,), _ = read("got10k", tmp_path)
    assert sorted(video.objects[0].labelled) == [0]
    assert video.objects[0].kind == ""


def test_mot_flags_visibility_and_tracks(tmp_path):
    lines = [
        "1,1,11,6,10,8,1,1,1",
        "2,1,12,6,10,8,1,1,0",  # fully hidden: absent
        "3,1,13,6,10,8,0,1,1",  # not to be considered: unknown
        "3,2,1,1,5,5,1,3,0.5",
        "3,2,2,2,5,5,1,3,0.5",  # a second box of the same object
        "1,-1,1,1,5,5,1,-1,-1",  # a detection, no identity
        "1,nan,1,1,5,5,1,1,1",
    ]
    mot(tmp_path, lines)
    (video,), problems = read("mot", tmp_path)
    first, second = video.objects
    assert first.object_id == "MOT17-02-DPM_1"
    assert (first.kind, second.kind) == ("pedestrian", "car")
    assert first.boxes_xyxy == {0: (10, 5, 20, 13)}
    assert sorted(first.labelled) == [0, 1]
    assert second.boxes_xyxy == {2: (0, 0, 5, 5)}
    assert sorted(video.frames) == [0, 1, 2]
    assert (problems.count("label_malformed"), problems.count("label_skipped")) == (3, 1)


def test_mot15_has_world_coordinates_instead_of_class_and_visibility(tmp_path):
    mot(tmp_path, ["1,4,11,6,10,8,1,-3.5,0,0"], name="ADL")
    (video,), _ = read("mot", tmp_path)
    assert video.objects[0].kind == ""
    assert video.objects[0].boxes_xyxy == {0: (10, 5, 20, 13)}


def test_mot17_names_one_video_three_times(tmp_path):
    for detector in ("DPM", "FRCNN", "SDP"):
        mot(tmp_path, ["1,1,11,6,10,8,1,1,1"], name=f"MOT17-02-{detector}")
    videos, problems = read("mot", tmp_path)
    assert [video.video_id for video in videos] == ["MOT17-02-DPM"]
    assert problems.count("label_skipped") == 2


def test_mot_class_names_of_cvat(tmp_path):
    folder = mot(tmp_path, ["1,1,11,6,10,8,1,2,1"], name="mine")
    (folder / "gt" / "labels.txt").write_text("cat\ndog\n")
    (video,), _ = read("mot", tmp_path)
    assert video.objects[0].kind == "dog"


def test_coco_instances_are_seen_once(tmp_path):
    box = {"image_id": 7, "category_id": 3, "bbox": [10.5, 5, 10, 8]}
    annotations = [
        {**box, "id": 1},
        {**box, "id": 2, "iscrowd": 1},
        {**box, "id": 3, "bbox": None},
        {**box, "id": 4, "image_id": 99},
    ]
    coco(tmp_path, annotations)
    (video,), problems = read("coco", tmp_path)
    assert (video.video_id, video.split, video.size) == ("train2017_000001", "train", (40, 30))
    (track,) = video.objects
    assert (track.object_id, track.kind) == ("train2017_000001_1", "truck")
    assert track.boxes_xyxy == {0: (10.5, 5, 20.5, 13)}
    assert video.frames[0].path == tmp_path / "train2017" / "000001.jpg"
    assert (problems.count("label_skipped"), problems.count("label_malformed")) == (1, 2)


def test_yolo_beside_the_picture(tmp_path):
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "background.jpg")
    (tmp_path / "classes.txt").write_text("car\ntruck\n")
    lines = ["1 0.5 0.5 0.2 0.4", "0 0.1 0.1 0.3 0.1 0.3 0.2", "0 120 80 20 20", "x", "-1 0 0 1 1"]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    (video,), problems = read("yolo", tmp_path)
    assert video.relative
    assert video.video_id == "a"
    first, outline = video.objects
    assert (first.kind, outline.kind) == ("truck", "car")
    assert first.boxes_xyxy[0] == pytest.approx((0.4, 0.3, 0.6, 0.7))
    assert outline.boxes_xyxy[0] == pytest.approx((0.1, 0.1, 0.3, 0.2))
    assert (problems.count("label_malformed"), problems.count("label_missing")) == (3, 1)


def test_yolo_with_images_and_labels_folders(tmp_path):
    for split in ("train", "val"):
        picture(tmp_path / "images" / split / "a.jpg")
        (tmp_path / "labels" / split).mkdir(parents=True)
        (tmp_path / "labels" / split / "a.txt").write_text("5 0.5 0.5 0.2 0.4\n")
    (tmp_path / "data.yaml").write_text("names: {5: bicycle}\n")
    videos, _ = read("yolo", tmp_path)
    found = [(video.video_id, video.split, video.objects[0].kind) for video in videos]
    assert found == [("train_a", "train", "bicycle"), ("val_a", "val", "bicycle")]


def test_refdet_frames_outside_the_span_are_unknown(tmp_path):
    def box(number):
        return {"frame": number, "x1": 1, "y1": 2, "x2": 5, "y2": 6}

    item = {"object_id": "a_1", "labelled_frames": [1, 3], "bboxes": [box(1), box(3), box(5)]}
    refdet(tmp_path, [item])
    (video,), problems = read("refdet", tmp_path)
    (track,) = video.objects
    assert list(track.labelled) == [1, 2, 3]
    assert sorted(track.boxes_xyxy) == [1, 3]
    assert track.boxes_xyxy[1] == (1, 2, 5, 6)
    assert problems.count("label_malformed") == 1
    assert video.frames[3].video_frame == 3


def test_aeroeyes_intervals_are_one_object_absent_elsewhere(tmp_path):
    def interval(*numbers):
        return {"bboxes": [{"frame": n, "x1": 1, "y1": 2, "x2": 5, "y2": 6} for n in numbers]}

    refdet(tmp_path, [interval(1, 2), interval(4)])
    (video,), _ = read("refdet", tmp_path)
    (track,) = video.objects
    assert track.object_id == "a"
    assert list(track.labelled) == [0, 1, 2, 3, 4, 5]
    assert sorted(track.boxes_xyxy) == [1, 2, 4]


def test_a_broken_entry_does_not_take_the_others_along(tmp_path):
    refdet(tmp_path, [{"bboxes": []}])
    entries = json.loads((tmp_path / "annotations.json").read_text())
    broken = [{"video_id": "b", "annotations": 3}, 17, {"annotations": []}]
    (tmp_path / "annotations.json").write_text(json.dumps(broken + entries))
    videos, problems = read("refdet", tmp_path)
    assert [video.video_id for video in videos] == ["a"]
    assert problems.count("label_malformed") == 3


def make_each(root):
    refdet(root / "refdet", [])
    lasot(root / "lasot", ["1,1,4,4"])
    got10k(root / "got10k", ["1,1,4,4"])
    coco(root / "coco", [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 1, 4, 4]}])
    picture(root / "yolo" / "a.jpg")
    (root / "yolo" / "a.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    mot(root / "mot", ["1,1,11,6,10,8,1,1,1"])


@pytest.mark.parametrize("name", list(FORMATS))
def test_each_format_is_recognised_and_only_as_itself(tmp_path, name):
    make_each(tmp_path)
    assert find_format("auto", tmp_path / name) == name


@pytest.mark.parametrize("name", list(FORMATS))
def test_files_saved_by_a_windows_editor_say_the_same(tmp_path, name):
    make_each(tmp_path)
    (tmp_path / "yolo" / "classes.txt").write_text("car\ntruck\n")
    (tmp_path / "mot" / "MOT17-02-DPM" / "gt" / "labels.txt").write_text("car\n")
    folder = tmp_path / name
    expected, _ = read(name, folder)
    for path in [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".jpg"]:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert find_format("auto", folder) == name
    videos, problems = read(name, folder)
    assert videos == expected
    assert problems.count("label_malformed") == 0


def test_unknown_format_names_the_valid_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"'voc'.*'auto', 'refdet', 'lasot', 'got10k', 'coco'"):
        find_format("voc", tmp_path)


def test_folder_like_nothing_is_told_what_each_format_looks_like(tmp_path):
    picture(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text("a note about the picture\n")
    with pytest.raises(SourceError) as error:
        find_format("auto", tmp_path)
    for name, item in FORMATS.items():
        assert name in str(error.value)
        assert item.looks_like in str(error.value)
    with pytest.raises(SourceError, match="not a folder"):
        find_format("auto", tmp_path / "nowhere")


def test_folder_like_two_formats_asks(tmp_path):
    lasot(tmp_path, ["1,1,4,4"])
    mot(tmp_path, ["1,1,11,6,10,8,1,1,1"])
    with pytest.raises(ConfigError, match=r"\['lasot', 'mot'\].*--format"):
        find_format("auto", tmp_path)
