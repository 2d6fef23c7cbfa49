"""Build of the ROS 2 package refdet_ros; also installable with pip.

It holds three Python packages: refdet_ros (the node), refdet_core (the detector,
without ROS) and refdet_training.
"""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "refdet_ros"
SHARE = f"share/{PACKAGE}"


def files_in(folder):
    """Group the files below a folder for data_files, keeping sub-folders."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            found.setdefault(f"{SHARE}/{path.parent}", []).append(str(path))
    return sorted(found.items())


def pinned(layer):
    """The packages that a layer of requirements adds to the one below it."""
    lines = Path("requirements", f"{layer}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-r"))]


setup(
    name=PACKAGE,
    version="0.4.0",
    description="Finds the object of a few reference photos in a drone's camera stream",
    author="refdet developers",
    maintainer="refdet developers",
    maintainer_email="refdet@users.noreply.github.com",
    license="Apache-2.0",
    python_requires=">=3.8",
    packages=find_packages(
        include=[
            f"{name}{suffix}"
            for name in ("refdet_ros", "refdet_core", "refdet_training")
            for suffix in ("", ".*")
        ]
    ),
    package_data={
        "refdet_core": ["py.typed", "backends/*.cu", "report/*.j2", "bundles/**/*", "bundles/*"],
        "refdet_ros": [
            "py.typed",
            "bags/*.j2",
            "demo/**/*",
            "demo/*",
            "console/web/**/*",
            "console/web/*",
        ],
        "refdet_training": ["py.typed", "recipes/*.yaml", "evaluation/*.j2"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (SHARE, ["package.xml"]),
        *files_in("launch"),
        *files_in("config"),
    ],
    # Only what ROS 2 itself would declare: apt's packages (python3-opencv …)
    # carry other distribution names than PyPI's, and a console script refuses to
    # start when a name listed here is not found. requirements/ has the full list.
    install_requires=["setuptools"],
    extras_require={
        "elevation": ["rasterio"],  # ground heights of locate from a GeoTIFF
        "satellite": pinned("satellite"),  # refdet search-images, on a workstation
    },
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "refdet = refdet_core.__main__:main",
            "detector = refdet_ros.__main__:main",
            "console = refdet_ros.console.__main__:main",
            "locate = refdet_ros.locate.__main__:main",
            "video_to_bag = refdet_ros.video_to_bag:main",
            "play_bag = refdet_ros.play_bag:main",
            "evaluate_bag = refdet_ros.evaluate_bag:main",
            "refdet-train = refdet_training.cli:main",
        ]
    },
)
