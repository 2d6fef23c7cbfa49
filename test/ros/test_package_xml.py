"""package.xml and the changelogs, as the ROS tools read them."""

import re
from pathlib import Path

import pytest
from catkin_pkg.changelog import get_changelog_from_path
from catkin_pkg.package import parse_package

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:catkin_pkg.*")
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("folder", [".", "msg"])
def test_package_is_valid_and_its_changelog_begins_with_its_version(folder):
    warnings = []
    package = parse_package(str(ROOT / folder), warnings=warnings)
    package.validate(warnings=warnings)
    assert warnings == []
    changelog = get_changelog_from_path(str(ROOT / folder), package.name)
    released = [version for version, _, _ in changelog.foreach_version() if version[0].isdigit()]
    assert released[-1] == package.version


def test_python_package_has_the_same_version():
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    version = re.search(r'version="([^"]+)"', setup)[1]
    assert version == parse_package(str(ROOT)).version
