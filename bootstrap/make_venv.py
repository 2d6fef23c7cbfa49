"""Make .venv and install what a stage needs. Standard library only.

``bootstrap.sh`` picks the interpreter and runs this with it. A step is skipped if its
inputs have not changed since it last succeeded, so a second run only compares hashes.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from step import ROOT, WORK, Step, digest, environment, fail, say

BOOTSTRAP = ROOT / "bootstrap"
REQUIREMENTS = ROOT / "requirements"
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UV_INSTALL = (VENV / "bin" / "uv", "pip", "install", "--python", PYTHON)
STATE = VENV / ".refdet"
DOCS_VENV = ROOT / ".venv-docs"  # the documentation is made from the sources alone
# OpenCV with windows and the contrib trackers. It cannot be imported where libGL is
# missing, as on a robot. So `import cv2` finds it only with this folder on PYTHONPATH
# (`make live`, the tests of the window).
FULL_OPENCV = VENV / "full_opencv"
FULL_OPENCV_NEEDS = "libgl1 libglib2.0-0 libsm6 libxext6"

STAGES = {
    "base": ["base.txt"],
    "test": ["base.txt", "satellite.txt", "training.txt", "test.txt"],
}
# Official packages that have no wheel. Each is built from the folder of its name beside this file.
STAND_IN_PACKAGES = ("vision_msgs", "tf2_msgs")
WINDOW_STAGE = "window"  # base, and an OpenCV with windows
DOCS_STAGE = "docs"  # no ROS, no compiler
# repair_imported_targets.cmake reads the property IMPORTED_TARGETS, new in 3.21.
CMAKE_AT_LEAST = (3, 21)

# Lets the ament index (get_package_share_directory …) find the environment although no
# set-up script has been sourced. Overlays that have been sourced come first. The file's
# name sorts before the wheels' own hook, which starts Python again with this variable.
PREFIX_HOOK = (
    "import os, sys; os.environ['AMENT_PREFIX_PATH'] = os.pathsep.join(dict.fromkeys("
    "[*filter(None, os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)), sys.prefix]))\n"
)


def check_machine() -> None:
    """Exit with a message if there are no ROS 2 wheels for this machine."""
    libc, version = platform.libc_ver()
    if sys.platform != "linux" or platform.machine() != "x86_64" or libc != "glibc":
        fail(
            f"the ROS 2 wheels are for Linux on x86-64 with glibc; this is "
            f"{platform.system()} on {platform.machine()}. Build natively instead: install "
            f"ROS 2 and run colcon build (see docs/install.md)."
        )
    if tuple(int(part) for part in version.split(".")[:2]) < (2, 28):
        fail(f"the ROS 2 wheels need glibc 2.28 or newer; this machine has {version}.")


def check_build_tools() -> None:
    """Exit with an install command if tools to build the interfaces are missing."""
    missing = [tool for tool in ("g++", "cmake", "make") if shutil.which(tool) is None]
    if missing:
        fail(
            f"{', '.join(missing)} not found, needed to build the message packages. "
            f"Install with\n    sudo apt-get install --yes {' '.join(missing)}"
        )
    answer = subprocess.run(["cmake", "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"version (\d+)\.(\d+)", answer.stdout)
    if found is None:
        fail(f"`cmake --version` does not work: {answer.stderr.strip() or answer.stdout.strip()}")
    if tuple(int(part) for part in found.groups()) < CMAKE_AT_LEAST:
        fail(
            f"cmake {'.'.join(found.groups())} is too old, "
            f"{'.'.join(map(str, CMAKE_AT_LEAST))} is needed. Debian 12 and Ubuntu 22.04 have it."
        )


def pinned(package: str) -> str:
    """The requirement line of one package in base.txt."""
    found = re.search(rf"^{re.escape(package)}==\S+", (REQUIREMENTS / "base.txt").read_text(), re.M)
    if found is None:
        fail(f"requirements/base.txt does not pin {package}.")
    return found.group()


def install_requirements(step: Step, stage: str) -> None:
    """Make the environment if necessary, and install the stage's pinned packages."""
    if not PYTHON.exists():
        shutil.rmtree(VENV, ignore_errors=True)
        say(f"making .venv with Python {platform.python_version()} ({sys.executable})")
        step.call([sys.executable, "-m", "venv", VENV])
    size = {"base": "0.6 GB", "test": "6 GB with the CUDA libraries of torch,"}[stage]
    with step.running(f"installing requirements/{STAGES[stage][-1]} ({size} on disk)"):
        step.call([PYTHON, "-m", "pip", "install", "--disable-pip-version-check", pinned("uv")])
        command: list[str | Path] = [*UV_INSTALL]
        for name in STAGES[stage]:
            command += ["-r", REQUIREMENTS / name]
        step.call(command)


def importable(package: str, **extra: str) -> bool:
    """Whether the environment has a package, with extra environment variables."""
    command = [str(PYTHON), "-c", f"import {package}"]
    answer = subprocess.run(
        command, env=environment(**extra), cwd=STATE, capture_output=True, check=False
    )
    return answer.returncode == 0


def install_full_opencv(step: Step) -> None:
    """Install OpenCV with windows beside the one without, in the same version."""
    version = pinned("opencv-python-headless").partition("==")[2]
    place = FULL_OPENCV.relative_to(ROOT)
    with step.running(f"installing OpenCV with windows to {place} (0.2 GB)"):
        shutil.rmtree(FULL_OPENCV, ignore_errors=True)
        wanted = f"opencv-contrib-python=={version}"
        step.call([*UV_INSTALL, "--no-deps", "--target", FULL_OPENCV, wanted])


def remove_listed(manifest: Path) -> None:
    """Remove the files that an earlier build installed."""
    if manifest.is_file():
        for line in manifest.read_text().splitlines():
            installed = Path(line)
            if VENV in installed.parents:
                installed.unlink(missing_ok=True)
        manifest.unlink()


def build_interfaces(step: Step, source: Path, package: str) -> None:
    """Generate, compile and install one interface package into the environment."""
    build = WORK / package
    manifest = STATE / f"{package}.manifest"
    env = environment(
        AMENT_PREFIX_PATH=str(VENV),
        CMAKE_PREFIX_PATH=str(VENV),
        PATH=f"{VENV / 'bin'}{os.pathsep}{os.environ['PATH']}",
    )
    with step.running(f"building {package} from {source.relative_to(ROOT)}/ (about half a minute)"):
        shutil.rmtree(build, ignore_errors=True)
        settings = {
            "BUILD_TESTING": "OFF",
            "CMAKE_BUILD_TYPE": "Release",
            "CMAKE_INSTALL_LIBDIR": "lib",
            "CMAKE_INSTALL_PREFIX": VENV,
            "CMAKE_PROJECT_INCLUDE": BOOTSTRAP / "repair_imported_targets.cmake",
            "Python3_EXECUTABLE": PYTHON,
            "Python3_FIND_VIRTUALENV": "ONLY",
        }
        options = [f"-D{name}={value}" for name, value in settings.items()]
        step.call(["cmake", "-S", source, "-B", build, *options], env)
        step.call(["cmake", "--build", build, "--parallel", str(os.cpu_count() or 1)], env)
        remove_listed(manifest)
        step.call(["cmake", "--install", build], env)
        shutil.copy(build / "install_manifest.txt", manifest)
        step.call([PYTHON, BOOTSTRAP / "check_interfaces.py", package])
        shutil.rmtree(build, ignore_errors=True)


def install_project(step: Step) -> None:
    """Install the project in development mode and register it in the ament index."""
    with step.running("installing refdet itself in development mode"):
        step.call([*UV_INSTALL, "--no-deps", "--no-build-isolation", "--editable", ROOT])
        site_packages = next((VENV / "lib").glob("python3.*/site-packages"))
        (site_packages / "refdet_ament_prefix.pth").write_text(PREFIX_HOOK)
        share = VENV / "share"
        marker = share / "ament_index" / "resource_index" / "packages" / "refdet_ros"
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        (share / "refdet_ros").mkdir(parents=True, exist_ok=True)
        for name in ("package.xml", "launch", "config"):
            link = share / "refdet_ros" / name
            if not link.is_symlink():
                link.symlink_to(os.path.relpath(ROOT / name, link.parent))


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Wait until no other set-up works on this tree."""
    WORK.mkdir(parents=True, exist_ok=True)
    with (WORK / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another set-up of this tree to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_docs_environment() -> None:
    """Make .venv-docs, or make it again if its requirements have changed."""
    requirements = REQUIREMENTS / "docs.txt"
    step = Step("docs", digest(requirements), DOCS_VENV / ".refdet")
    if step.done():
        return
    with step.running("making .venv-docs for the documentation (0.2 GB)"):
        shutil.rmtree(DOCS_VENV, ignore_errors=True)
        step.call([sys.executable, "-m", "venv", DOCS_VENV])
        pip = (DOCS_VENV / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check")
        step.call([*pip, "-r", requirements])


def usable_environment() -> bool:
    """Whether the interpreter in .venv works and has a supported version."""
    if not PYTHON.exists():
        return False
    probe = "import sys; raise SystemExit(not (3, 10) <= sys.version_info[:2] <= (3, 13))"
    # -S leaves out the site module, whose hook (from the wheels) would start Python twice.
    return subprocess.call([PYTHON, "-I", "-S", "-c", probe], env=environment()) == 0


def make(stage: str) -> None:
    """Run the steps of a stage whose inputs have changed."""
    if stage == DOCS_STAGE:
        make_docs_environment()
        return
    if sourced := os.environ.get("REFDET_SOURCED_ROS"):
        say(
            f"ROS 2 {sourced} is sourced: to use it, build with `colcon build --base-paths . msg` "
            f"from a workspace (see docs/install.md). .venv does not use it."
        )
    if VENV.exists() and not usable_environment():
        say(".venv no longer works; making it again")
        shutil.rmtree(VENV)

    requirements = {
        name: Step(
            f"requirements-{name}", digest(*(REQUIREMENTS / file for file in STAGES[name])), STATE
        )
        for name in STAGES
    }
    base = digest(REQUIREMENTS / "base.txt")
    repair = BOOTSTRAP / "repair_imported_targets.cmake"
    shims = {
        name: Step(name, digest(base, repair, BOOTSTRAP / name), STATE)
        for name in STAND_IN_PACKAGES
    }
    msgs = Step("refdet_msgs", digest(base, repair, ROOT / "msg"), STATE)
    windows = Step("full_opencv", digest(pinned("opencv-python-headless")), STATE)
    project = Step(
        "refdet", digest(str(ROOT), PREFIX_HOOK, ROOT / "setup.py", ROOT / "setup.cfg"), STATE
    )

    if not (msgs.done() and all(shim.done() for shim in shims.values())):
        check_machine()
        check_build_tools()
    # The test stage contains the base stage.
    layer = "base" if stage == WINDOW_STAGE else stage
    satisfied = requirements["test"].done() or requirements[layer].done()
    if not satisfied:
        check_machine()
        install_requirements(requirements[layer], layer)
    for name, shim in shims.items():
        if shim.done():
            continue
        if not (STATE / f"{name}.manifest").exists() and importable(f"{name}.msg"):
            with shim.running(f"{name} is installed already; ours is not built"):
                pass
        else:
            build_interfaces(shim, BOOTSTRAP / name, name)
    if not msgs.done():
        build_interfaces(msgs, ROOT / "msg", "refdet_msgs")
    if not project.done():
        install_project(project)
    if stage != "base" and not windows.done():
        install_full_opencv(windows)
    if stage == WINDOW_STAGE and not importable("cv2", PYTHONPATH=str(FULL_OPENCV)):
        fail(
            "OpenCV's windows need system libraries that are missing here. Install them with\n"
            f"    sudo apt-get install --yes {FULL_OPENCV_NEEDS}"
        )


def main() -> None:
    """Parse the stage and run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "stage", choices=sorted([*STAGES, WINDOW_STAGE, DOCS_STAGE]), nargs="?", default="base"
    )
    stage = parser.parse_args().stage
    with locked():
        make(stage)


if __name__ == "__main__":
    main()
