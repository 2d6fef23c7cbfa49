"""The ROS 2 environment: importable packages, variables, Fast DDS.

It does not import ROS.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from importlib import metadata, util
from pathlib import Path
from typing import List, Mapping, Optional, Tuple

from refdet_core.doctor.check_process import CheckResult
from refdet_core.doctor.report import BROKEN, WARNING, Finding, Section

DEFAULT_RMW = "rmw_fastrtps_cpp"
# Fast DDS 2 (Humble, Jazzy) reads the first, Fast DDS 3 (Kilted) the second.
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
PROFILE = "fastdds_shm.xml"
LARGEST_DOMAIN = 232
# A raw 1280x720 image is 2.7 MB; Fast DDS's default segment of 0.5 MB loses most of them.
LEAST_SEGMENT_BYTES = 4 << 20
LEAST_SHARED_MEMORY_MB = 128
SHARED_MEMORY = Path("/dev/shm")
_PACKAGES = ("rclpy", "vision_msgs", "refdet_msgs", "cv_bridge")
_ROOT = Path(__file__).resolve().parents[2]


def ros_section(
    numpy: CheckResult,
    environment: Mapping[str, str],
    shared_memory: Path = SHARED_MEMORY,
) -> Section:
    """The ROS environment in ``environment``, with the NumPy version of that check."""
    distro = environment.get("ROS_DISTRO", "")
    found = {name: _find(name) for name in _PACKAGES}
    facts: List[Tuple[str, str]] = [("distribution", distro or "ROS_DISTRO is not set")]
    facts += [(name, version or "not found") for name, version in found.items()]
    findings = _package_findings(found, distro)
    findings += _cv_bridge_findings(found, numpy)

    rmw = environment.get("RMW_IMPLEMENTATION", "")
    facts.append(("RMW_IMPLEMENTATION", rmw or f"not set, so {DEFAULT_RMW}"))
    findings += _rmw_findings(rmw, environment)
    facts.append(("ROS_DOMAIN_ID", environment.get("ROS_DOMAIN_ID", "") or "not set, so 0"))
    findings += _domain_findings(environment.get("ROS_DOMAIN_ID", ""))
    if "fastrtps" in (rmw or DEFAULT_RMW):
        given = {name: environment[name] for name in PROFILE_VARIABLES if environment.get(name)}
        facts += list(given.items()) or [("Fast DDS profile", "none for this shell")]
        findings += _profile_findings(given, environment)
        findings += _shared_memory_findings(shared_memory)
    return Section("ROS 2", tuple(facts), tuple(findings))


def _find(name: str) -> str:
    """A package's version; "found" if it has none, empty if there is no such package."""
    try:
        spec = util.find_spec(name)
    except (ImportError, ValueError):
        return ""
    # A folder of that name in the working folder is a namespace package without a loader.
    if spec is None or spec.origin is None:
        return ""
    for distribution in (name, f"ros-{name}".replace("_", "-")):
        try:
            # Generated message packages have metadata without a version.
            return metadata.version(distribution) or "found"
        except metadata.PackageNotFoundError:
            continue
    return "found"


def _package_findings(found: Mapping[str, str], distro: str) -> List[Finding]:
    if not found["rclpy"]:
        return [
            Finding(
                BROKEN,
                "ROS 2 is not found by this Python: the node cannot run (refdet detect and refdet "
                "live can).",
                "source /opt/ros/$ROS_DISTRO/setup.bash and your workspace's install/setup.bash; "
                "without a ROS installation make setup",
            )
        ]
    findings = []
    if not found["vision_msgs"]:
        findings.append(
            Finding(
                BROKEN,
                "The messages vision_msgs are not found: detections could not be published.",
                f"sudo apt install ros-{distro or '$ROS_DISTRO'}-vision-msgs, or in a container "
                "that built ROS from source clone it into the workspace (docs/jetson.md)",
            )
        )
    if not found["refdet_msgs"]:
        findings.append(
            Finding(
                BROKEN,
                "refdet's own messages, refdet_msgs, are not found.",
                "colcon build --base-paths src/refdet src/refdet/msg, then source "
                "install/setup.bash",
            )
        )
    return findings


def _cv_bridge_findings(found: Mapping[str, str], numpy: CheckResult) -> List[Finding]:
    version = str(numpy.facts.get("version", "1"))
    if not found["cv_bridge"] or int(version.partition(".")[0]) < 2:
        return []
    return [
        Finding(
            WARNING,
            f"cv_bridge is built for NumPy 1, here is NumPy {version}: refdet converts images "
            "itself, other nodes that use cv_bridge may crash.",
            "pip install 'numpy<2' if you need them in this environment",
        )
    ]


def _rmw_findings(rmw: str, environment: Mapping[str, str]) -> List[Finding]:
    prefixes = [Path(part) for part in environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep)]
    index = "share/ament_index/resource_index/packages"
    if not rmw or not environment.get("AMENT_PREFIX_PATH"):
        return []
    if any((prefix / index / rmw).exists() for prefix in prefixes):
        return []
    package = f"ros-{environment.get('ROS_DISTRO', '$ROS_DISTRO')}-{rmw}".replace("_", "-")
    return [
        Finding(
            BROKEN,
            f"RMW_IMPLEMENTATION is {rmw}, which is not installed: no node can start.",
            f"sudo apt install {package}, or unset RMW_IMPLEMENTATION",
        )
    ]


def _domain_findings(domain: str) -> List[Finding]:
    if not domain or (domain.isdigit() and int(domain) <= LARGEST_DOMAIN):
        return []
    return [
        Finding(
            BROKEN,
            f"ROS_DOMAIN_ID is '{domain}', not a number between 0 and {LARGEST_DOMAIN}: no node "
            "can start.",
            "export ROS_DOMAIN_ID=0, the same on all machines that talk to each other",
        )
    ]


def _profile_findings(given: Mapping[str, str], environment: Mapping[str, str]) -> List[Finding]:
    export = f"export {PROFILE_VARIABLES[0]}={_shipped_profile(environment)}"
    if not given:
        return [
            Finding(
                WARNING,
                "Fast DDS with its own settings loses most large images between processes. The "
                "launch file gives refdet's node a profile; nodes started otherwise have none.",
                f"{export} in the shell of the camera driver too (Kilted: {PROFILE_VARIABLES[1]})",
            )
        ]
    findings = []
    for name, value in given.items():
        complaint = _profile_complaint(Path(value))
        if complaint:
            findings.append(Finding(WARNING, f"{name}: {complaint}", export))
    return findings


def _profile_complaint(path: Path) -> str:
    """The problem with a Fast DDS profile; empty if there is none."""
    try:
        root = ElementTree.parse(str(path)).getroot()
    except OSError as error:
        return f"{path} cannot be read ({error.strerror}), so the default settings are used."
    except ElementTree.ParseError as error:
        return f"{path} is not valid XML ({error}), so the default settings are used."
    segments = []
    for item in root.iter():
        if item.tag.rpartition("}")[2] == "segment_size" and (item.text or "").strip().isdigit():
            segments.append(int((item.text or "").strip()))
    if not segments:
        return f"{path} has no shared-memory segment_size: large images are lost."
    if max(segments) < LEAST_SEGMENT_BYTES:
        return (
            f"{path} has a shared-memory segment of {max(segments)} bytes, less than one large "
            "image needs."
        )
    return ""


def _shipped_profile(environment: Mapping[str, str]) -> Path:
    """The profile of refdet, from its installation or its sources."""
    candidates = [
        Path(prefix) / "share" / "refdet_ros" / "config" / PROFILE
        for prefix in environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
        if prefix
    ]
    candidates.append(_ROOT / "config" / PROFILE)
    return next((path for path in candidates if path.is_file()), candidates[-1])


def _shared_memory_findings(folder: Path) -> List[Finding]:
    free_mb = _free_mb(folder)
    if free_mb is None or free_mb >= LEAST_SHARED_MEMORY_MB:
        return []
    return [
        Finding(
            WARNING,
            f"{folder} has {free_mb} MB free: too little for the shared memory of several nodes.",
            "start the container with --ipc=host (or --shm-size=1g); left over segments are "
            "removed by `fastdds shm clean`",
        )
    ]


def _free_mb(folder: Path) -> Optional[int]:
    try:
        found = os.statvfs(str(folder))
    except OSError:
        return None
    return found.f_bavail * found.f_frsize >> 20
