"""Bags as crashes leave them: what is there is read, and how much that is is said."""

from __future__ import annotations

import json
import shutil
import sqlite3

import numpy as np
import pytest

pytest.importorskip("rosbags")
pytest.importorskip("mcap")

from refdet_core.errors import SourceError
from refdet_ros import evaluate_bag, play_bag
from refdet_ros.bags.frames import frames
from refdet_ros.bags.reading import Bag
from refdet_ros.bags.writing import ImageBagWriter

COUNT = 20
START_NS = 1_700_000_000_000_000_000
STEP_NS = 100_000_000


def write(path, storage, first=0, count=COUNT, size=(120, 160)):
    """A bag of frames that brighten by 8; frame ``number`` has that time."""
    with ImageBagWriter(path, storage=storage) as writer:
        for number in range(first, first + count):
            level = np.full((*size, 3), number * 8, np.uint8)
            writer.write(level, START_NS + number * STEP_NS)
    return storage_file(path)


def storage_file(path):
    return next(file for file in path.iterdir() if file.name != "metadata.yaml")


def numbers(path):
    """The frames that are read, and the problems that are told."""
    with Bag(path) as bag:
        topic = bag.image_topic()
        read = [round(float(bgr.mean()) / 8) for _, _, bgr in frames(bag, topic)]
        assert len(read) <= topic.count
        if not bag.problems:
            assert len(read) == topic.count
        assert bag.duration_s == pytest.approx((read[-1] - read[0]) * STEP_NS * 1e-9)
        return read, bag.problems


@pytest.fixture(params=["mcap", "sqlite3"])
def bag(request, tmp_path):
    write(tmp_path / "bag", request.param)
    return tmp_path / "bag"


def test_a_whole_bag_has_no_problem(bag):
    assert numbers(bag) == (list(range(COUNT)), [])


def test_without_metadata_the_storage_files_are_read(bag, caplog):
    (bag / "metadata.yaml").unlink()
    read, (problem,) = numbers(bag)
    assert read == list(range(COUNT))
    assert "metadata.yaml" in problem and "reindex" in problem
    assert problem in caplog.text


@pytest.mark.parametrize("metadata", [True, False])
def test_cut_off_in_the_middle(bag, metadata):
    file = storage_file(bag)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 6 // 10])
    if not metadata:
        (bag / "metadata.yaml").unlink()
    read, problems = numbers(bag)
    assert COUNT // 3 < len(read) < COUNT and read == list(range(len(read)))
    text = " ".join(problems)
    assert f"{len(read)} messages of {(len(read) - 1) / 10:.2f} s" in text
    assert "recover" in text


def test_the_file_alone_can_be_given(bag):
    file = storage_file(bag)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 6 // 10])
    read, problems = numbers(file)
    assert COUNT // 3 < len(read) < COUNT and len(problems) == 1


def test_an_mcap_file_that_ends_in_zeros(tmp_path):
    # What a file system leaves that lost the last blocks with the power.
    file = write(tmp_path / "bag", "mcap", size=(480, 640))  # of several chunks
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] + bytes(len(content) // 2))
    read, problems = numbers(tmp_path / "bag")
    assert COUNT // 4 < len(read) < COUNT and read == list(range(len(read)))
    assert "messages of" in " ".join(problems)


def test_nothing_can_be_read(bag):
    file = storage_file(bag)
    for content in (b"", file.read_bytes()[:20], b"no bag " * 1000):
        file.write_bytes(content)
        with pytest.raises(SourceError) as refused:
            Bag(bag)
        assert str(bag) in str(refused.value) and "\n" not in str(refused.value)


def test_splits_of_which_the_last_was_not_closed(tmp_path):
    folder = tmp_path / "bag"
    folder.mkdir()
    for number, part in enumerate(("first", "second", "third")):
        file = write(tmp_path / part, "mcap", number * 10, 10)
        shutil.copy(file, folder / f"flight_{number}.mcap")
    last = folder / "flight_2.mcap"
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    read, problems = numbers(folder)
    assert 20 < len(read) < 30 and read == list(range(len(read)))
    assert "flight_2.mcap" in problems[-1] and "flight_1" not in " ".join(problems[1:])


def test_a_split_that_the_metadata_does_not_list(bag, tmp_path):
    kind = "mcap" if storage_file(bag).suffix == ".mcap" else "sqlite3"
    later = write(tmp_path / "later", kind, COUNT, 3)
    shutil.copy(later, bag / ("zz_1" + later.suffix))
    read, (problem,) = numbers(bag)
    assert read == list(range(COUNT + 3)) and "zz_1" in problem


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_messages_in_the_journal_of_sqlite_are_read_and_nothing_is_changed(tmp_path, mode):
    """As after a crash: a write-ahead log not taken in, or a transaction not finished."""
    bag = tmp_path / "bag"
    source = write(tmp_path / "source", "sqlite3")
    bag.mkdir()
    working = tmp_path / "working.db3"
    shutil.copy(source, working)
    connection = sqlite3.connect(working)
    connection.execute(f"PRAGMA journal_mode={mode}")
    connection.execute("PRAGMA cache_size=1")
    connection.commit()
    expected = list(range(COUNT))
    if mode == "wal":
        late = expected[-5:]
        rows = connection.execute("SELECT * FROM messages ORDER BY id").fetchall()[-5:]
        connection.execute("DELETE FROM messages WHERE id >= ?", (rows[0][0],))
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", rows)
        connection.commit()
        assert late == expected[-5:]
    else:
        # Written to the file, because the cache is too small, but never committed.
        connection.execute("BEGIN")
        connection.execute("UPDATE messages SET data = zeroblob(60000)")
    for file in tmp_path.glob("working.db3*"):
        if not file.name.endswith("-shm"):
            shutil.copy(file, bag / file.name.replace("working", "flight"))
    connection.close()
    before = {file.name: file.read_bytes() for file in bag.iterdir()}
    assert len(before) == 2
    read, _ = numbers(bag)
    assert read == expected
    assert {file.name: file.read_bytes() for file in bag.iterdir()} == before


@pytest.mark.parametrize("cut", [False, True])
def test_compressed_files_without_metadata(bag, cut):
    zstandard = pytest.importorskip("zstandard")
    file = storage_file(bag)
    # Noise in place of the flat pictures, which would leave nothing to cut off.
    packed = zstandard.ZstdCompressor().compress(file.read_bytes())
    file.with_name(file.name + ".zstd").write_bytes(
        packed[: len(packed) * 3 // 4] if cut else packed
    )
    file.unlink()
    (bag / "metadata.yaml").unlink()
    if cut:
        try:
            read, problems = numbers(bag)
        except SourceError as error:
            assert "no messages" in str(error)
            return
        assert len(read) <= COUNT and len(problems) > 1
    else:
        assert numbers(bag)[0] == list(range(COUNT))


def test_single_messages_compressed_without_metadata(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    file = write(tmp_path / "bag", "sqlite3")
    connection = sqlite3.connect(file)
    for number, data in connection.execute("SELECT id, data FROM messages").fetchall():
        packed = zstandard.ZstdCompressor().compress(data)
        connection.execute("UPDATE messages SET data = ? WHERE id = ?", (packed, number))
    connection.commit()
    connection.close()
    (tmp_path / "bag" / "metadata.yaml").unlink()
    assert numbers(tmp_path / "bag")[0] == list(range(COUNT))


def test_evaluate_bag_scores_what_is_there_and_says_where_it_ends(
    tmp_path, colour_bundle, square_frame, capsys, caplog
):
    with ImageBagWriter(tmp_path / "bag") as writer:
        for number in range(COUNT):
            writer.write(square_frame("red"), START_NS + number * STEP_NS)
    file = storage_file(tmp_path / "bag")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (tmp_path / "bag" / "metadata.yaml").unlink()
    truth = tmp_path / "truth.json"
    boxes = [{"frame": n, "x1": 68, "y1": 84, "x2": 100, "y2": 116} for n in range(COUNT)]
    entry = {"object_id": "red", "labelled_frames": [0, COUNT - 1], "bboxes": boxes}
    truth.write_text(json.dumps([{"video_id": "v", "annotations": [entry]}]))
    options = ("--ground-truth", truth, "--references-from-ground-truth", "--bundle", colour_bundle)
    assert evaluate_bag.main([str(part) for part in (tmp_path / "bag", *options)]) == 0
    assert "messages of" in caplog.text and "byte" in caplog.text
    assert "red" in capsys.readouterr().out


def test_play_bag_plays_what_is_there(tmp_path, capsys, caplog):
    file = write(tmp_path / "bag", "mcap")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert play_bag.main([str(tmp_path / "bag"), "--rate", "20"]) == 0
    assert "/image: " in capsys.readouterr().out
    assert "messages of" in caplog.text
