"""One run of the demo: bag, node, templates, replay, report."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Mapping, Sequence

from refdet_core.bundle import load_bundle
from refdet_core.errors import RefdetError
from refdet_ros.bags.live import LiveDetector
from refdet_ros.bags.parts import BagTopic
from refdet_ros.bags.reading import Bag
from refdet_ros.bags.report import as_text, score_targets
from refdet_ros.bags.targets import Target
from refdet_ros.demo.pictures import write_contact_sheet, write_references
from refdet_ros.demo.scene import Scene
from refdet_ros.evaluate_bag import write_output
from refdet_ros.node_process import NodeProcess
from refdet_ros.video_to_bag import write_bag


def run(scene: Scene, output: Path, bundle: Path | None = None, search: str | None = None) -> None:
    """Run the demo and print its steps.

    Args:
        scene: footage and targets.
        output: folder for all results.
        bundle: the node's model bundle; None: the released model.
        search: the node's parameter; None: its default.

    Raises:
        RefdetError: the demo failed. The node is stopped in any case.
    """
    # Checked first, because the node would retry forever.
    load_bundle(bundle)
    parameters = {} if bundle is None else {"bundle": str(bundle)}
    if search is not None:
        parameters["search"] = search
    output.mkdir(parents=True, exist_ok=True)
    path = output / "bag"
    if path.exists():
        shutil.rmtree(path)
    _say(f"Making a bag of {scene.source.path.name} ...")
    summary = write_bag(
        scene.source,
        path,
        transport=scene.transport,
        quality=95,
        start_s=scene.start_s,
        end_s=scene.start_s + scene.seconds,
        progress=True,
    )
    _say(f"{path}: {summary.frames} frames at {summary.fps:g} Hz")
    photos = write_references(output / "references", scene.targets)
    with Bag(path) as bag:
        _run_node(bag, bag.image_topic(), scene.targets, output, parameters)
    _say(f"  reference photos  {photos[0].parent}/ ({len(photos)}; rois.txt: where the object is)")
    _say(f"  bag               {path}")


def _run_node(
    bag: Bag,
    topic: BagTopic,
    targets: Sequence[Target],
    output: Path,
    parameters: Mapping[str, str],
) -> None:
    transport = "compressed" if topic.name.endswith("/compressed") else "raw"
    _say(f"Starting the node (its output: {output / 'node.log'}) ...")
    with NodeProcess({**parameters, "image_transport": transport}, output / "node.log") as node:
        try:
            with LiveDetector("/", start_timeout_s=120.0) as detector:
                detector.wait_until_active(topic.msgtype, while_waiting=node.check)
                for target in targets:
                    before = time.perf_counter()
                    encode_ms = detector.set_target(target)
                    _say(
                        f"/set_template '{target.template_id}': {len(target.references)} photo(s), "
                        f"encoded in {encode_ms:.0f} ms, "
                        f"answered in {(time.perf_counter() - before) * 1e3:.0f} ms"
                    )
                _say(f"Playing {bag.duration_s:.0f} s of camera frames in real time ...")
                replay = detector.replay(bag, topic)
        except RefdetError as error:
            # If the node has ended, that is the reason; its log tells more in any case.
            node.check()
            raise RefdetError(f"{error} The end of {node.log}:\n{node.log_tail()}") from error
    results = score_targets(replay, targets)
    _say("Drawing ...")
    written = write_output(output, bag, topic, replay, targets, results)
    sheet = output / "contact_sheet.png"
    write_contact_sheet(sheet, bag, topic, replay, targets)
    _say("\nWhat the node reported:\n")
    _say(as_text(replay, results) + "\n")
    for path in (*written, sheet):
        _say(f"  {path}")


def _say(text: str) -> None:
    print(text, flush=True)
