"""What MkDocs does besides: the repository's own pages are part of the site.

README.md, MODEL_CARD.md and CONTRIBUTING.md lie in the root, where GitHub and ROS tools look
for them. Their links, and links to them, are written as GitHub needs them; this turns them
into the site's. Links to files that are no pages (sources, LICENSE) become plain text.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT_PAGES = {
    "README.md": "index.md",
    "MODEL_CARD.md": "model-card.md",
    "CONTRIBUTING.md": "contributing.md",
}
# Of docstrings, which name classes as Sphinx does.
ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):(?=<code>)")
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s#]*)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the root's pages."""
    root = Path(config.config_file_path).parent
    for name, page in ROOT_PAGES.items():
        text = (root / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=LINK.sub(_from_root, text)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links from docs/ to the root (``../README.md``) into links within the site."""
    return LINK.sub(_from_docs, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Show the names in docstrings without their Sphinx roles."""
    return ROLE.sub("", html)


def _from_root(link: re.Match[str]) -> str:
    target = link["target"]
    if "://" in target or not target:
        return link[0]
    page = ROOT_PAGES.get(target) or (target[5:] if target.startswith("docs/") else None)
    return _link(link, page)


def _from_docs(link: re.Match[str]) -> str:
    if not link["target"].startswith("../"):
        return link[0]
    return _link(link, ROOT_PAGES.get(link["target"][3:]))


def _link(link: re.Match[str], page: str | None) -> str:
    if page is None:
        return link["text"]
    return f"{link['image']}[{link['text']}]({page}{link['anchor'] or ''})"
