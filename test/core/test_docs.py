"""README.md and docs/: short, and every link leads somewhere (`make docs` checks anchors too)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)


def anchors(page):
    """What GitHub and MkDocs make of a page's headings."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


def test_files_of_the_architecture_exist():
    for page in ("docs/architecture.md", "CONTRIBUTING.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        named = re.findall(r"`([\w/.]+(?:\.py|/))`", text)
        assert named
        folders = (
            "",
            "refdet_core",
            "refdet_core/search",
            "refdet_ros",
            "refdet_training/datasets",
        )
        assert [
            name for name in named if not any((ROOT / folder / name).exists() for folder in folders)
        ] == []


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 180


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_somewhere(page):
    broken = []
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        # Anchors of the API pages are made from the sources.
        by_hand = anchor and not anchor.startswith("refdet_")
        if not linked.exists() or (by_hand and anchor not in anchors(linked)):
            broken.append(target)
    assert broken == []
