"""What `mkdocs build` does beside rendering docs/: pages from outside it, and tutorials with output.

README.md is the home page. A tutorial is a page that is also a notebook (jupytext's Markdown): it is
run while the site is built, so what it shows is what the code gave. FCAM_DOCS_RUN=0 leaves that out,
for those who are writing.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Each is a page of the site and of the repository, and its links must lead somewhere in both.
_OUTSIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
_SECONDS = 600  # for one cell


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not in docs/."""
    from mkdocs.structure.files import File  # noqa: PLC0415 - the tests do without MkDocs

    for name in _OUTSIDE:
        text = (ROOT / name).read_text("utf-8")
        page = File.generated(config, name, content=text.replace("](docs/", "]("))
        files.append(page)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Link to pages outside docs/ as they lie in the site; run what is a tutorial."""
    source = page.file.src_uri
    above = "../" * (source.count("/") + 1)
    for name in _OUTSIDE:
        markdown = markdown.replace(f"]({above}{name}", f"]({above[3:]}{name}")
    is_tutorial = source.startswith("tutorials/") and not source.endswith("index.md")
    return with_output(markdown) if is_tutorial and _runs() else markdown


def _runs() -> bool:
    return os.environ.get("FCAM_DOCS_RUN", "1") != "0"


def run(markdown: str, folder: str) -> Any:
    """Return a tutorial as a notebook that was run in ``folder``.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell or a command failed.
    """
    import jupytext  # noqa: PLC0415 - of the extra "docs"
    from nbclient import NotebookClient  # noqa: PLC0415

    notebook = jupytext.reads(markdown, fmt="md")
    resources = {"metadata": {"path": folder}}
    client = NotebookClient(notebook, timeout=_SECONDS, kernel_name="python3", resources=resources)
    return client.execute()


def with_output(markdown: str) -> str:
    """Return the page of a tutorial with what its cells print and draw below them."""
    from nbconvert import MarkdownExporter  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        notebook = run(markdown, folder)
    text, resources = MarkdownExporter().from_notebook_node(notebook)
    return _embedded(text, resources["outputs"])


def _embedded(text: str, pictures: dict[str, bytes]) -> str:
    """Put the pictures into the page itself."""
    return text
