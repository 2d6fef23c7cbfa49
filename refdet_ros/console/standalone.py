"""``make console``: a camera, the detector and the console in one go, without ROS installed."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Optional, Sequence

from refdet_core.detector_arguments import add_search_argument
from refdet_core.errors import ConfigError, RefdetError
from refdet_ros.console.__main__ import make_parser as console_parser
from refdet_ros.console.__main__ import options_from
from refdet_ros.node_process import NodeProcess, prepare_dds


def make_parser() -> argparse.ArgumentParser:
    """The command line: the console's options, and the source."""
    parser = argparse.ArgumentParser(
        prog="python -m refdet_ros.console.standalone",
        description="Show SOURCE to the detector, and both in the browser.",
        parents=[console_parser()],
        conflict_handler="resolve",
        add_help=True,
    )
    parser.add_argument("source", metavar="SOURCE", help="0, video, folder, rtsp://...")
    parser.add_argument("--hz", type=float, help="frames per second of a file (default: its own)")
    parser.add_argument("--width", type=int, default=0, help="make wider frames smaller")
    add_search_argument(parser, "auto")
    parser.add_argument("--bundle", type=Path, help="model bundle (default: the released one)")
    return parser


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run until Ctrl-C; returns the exit code."""
    args = make_parser().parse_args(argv)
    log = Path(tempfile.mkdtemp(prefix="refdet_console_")) / "detector.log"
    parameters = {"search": args.search}
    if args.bundle is not None:
        parameters["bundle"] = str(args.bundle)
    camera_failed = threading.Event()
    try:
        options = options_from(args)
        # Not the default domain 0, nor one that others on this machine use.
        prepare_dds(20 + os.getpid() % 80)
        with NodeProcess(parameters, log), _camera(args) as camera:
            assert camera.stdout is not None
            if not camera.stdout.readline():  # it has said why it could not open its source
                shutil.rmtree(log.parent)
                return 1
            print(f"console: showing {args.source}; the detector's log: {log}", flush=True)
            _watch(camera, camera_failed)
            # Imported now, because ROS reads its environment once.
            from refdet_ros.console.server import serve

            code = serve(options, [], lambda url: print(f"console: open {url}", flush=True))
            camera.terminate()
            return 1 if camera_failed.is_set() else code
    except (ConfigError, RefdetError) as error:
        print(f"console: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1 if camera_failed.is_set() else 0


def _camera(args: argparse.Namespace) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "refdet_ros.console.camera", args.source]
    command += ["--width", str(args.width)]
    command += ["--hz", str(args.hz)] if args.hz else []
    # Ctrl-C reaches the console alone, which then stops the camera.
    return subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)


def _watch(camera: subprocess.Popen[bytes], failed: threading.Event) -> None:
    """End this process when the camera ends by itself, which it does not if all is well."""

    def wait() -> None:
        if camera.wait() not in (0, -signal.SIGTERM):
            failed.set()
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
