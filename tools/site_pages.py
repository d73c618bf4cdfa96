"""What `mkdocs build` does beside rendering docs/: pages that lie outside it, and tutorials.

README.md is the home page. A tutorial is a page that is also a notebook (jupytext's Markdown). It
is run while the site is built, so what it shows is what its code gave. FCAM_DOCS_RUN=0 leaves that
out, for those who are writing.
"""

from __future__ import annotations

import base64
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Each is a page of the site and of the repository, and its links must lead somewhere in both.
_OUTSIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
_SECONDS = 1800  # for one cell or the kernel's start, also on a busy machine
# Else jupytext goes by which language a page has more blocks of.
_HEADER = "---\njupyter:\n  jupytext:\n    main_language: python\n---\n\n"
_SHELL = "%%sh\n"  # what jupytext makes of a block of shell commands
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # of a terminal


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not in docs/."""
    from mkdocs.structure.files import File  # noqa: PLC0415 - the tests do without MkDocs

    for name in _OUTSIDE:
        text = (ROOT / name).read_text("utf-8")
        files.append(File.generated(config, name, content=text.replace("](docs/", "](")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Link to pages outside docs/ as they lie in the site; run what is a tutorial."""
    source = page.file.src_uri
    if source == "README.md":
        page.meta["hide"] = ["navigation"]  # which has nothing but this page
    above = "../" * source.count("/")
    for name in _OUTSIDE:
        markdown = markdown.replace(f"](../{above}{name}", f"]({above}{name}")
    is_tutorial = source.startswith("tutorials/") and not source.endswith("index.md")
    if not is_tutorial or os.environ.get("FCAM_DOCS_RUN") == "0":
        return markdown
    from mkdocs.structure.files import File  # noqa: PLC0415 - as above

    with tempfile.TemporaryDirectory() as folder:
        text, pictures = with_output(run(markdown, folder), Path(source).stem)
    for name, picture in pictures.items():
        files.append(File.generated(config, f"tutorials/{name}", content=picture))
    return text


def run(markdown: str, folder: str) -> Any:
    """Return a tutorial as a notebook that was run in ``folder``.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell or a command failed.
    """
    import jupytext  # noqa: PLC0415 - of the extra "docs", as the next
    from nbclient import NotebookClient  # noqa: PLC0415

    notebook = jupytext.reads(_HEADER + markdown, fmt="md")
    resources = {"metadata": {"path": folder}}
    seconds = {"timeout": _SECONDS, "startup_timeout": _SECONDS}
    client = NotebookClient(notebook, kernel_name="python3", resources=resources, **seconds)
    # The commands are those of the environment that runs this, which need not be active.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    return client.execute(env={**os.environ, "PATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"})


def with_output(notebook: Any, name: str) -> tuple[str, dict[str, bytes]]:
    """Return the page of a notebook that was run, and its pictures by the names of their files."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            parts.append(cell.source)
            continue
        code = cell.source
        language = "sh" if code.startswith(_SHELL) else "python"
        parts.append(_fence(language, code.removeprefix(_SHELL)))
        for text, picture in _shown(cell.outputs):
            if picture:
                file = f"{name}-{len(pictures) + 1}.png"
                pictures[file] = picture
                parts.append(f"![What the code draws]({file})")
            else:
                parts.append(_fence("{ .text .output }", text))
    return "\n\n".join(parts), pictures


def _fence(language: str, text: str) -> str:
    return f"``` {language}\n{text.strip(chr(10))}\n```"


def _shown(outputs: Any) -> list[tuple[str, bytes]]:
    """Return what a cell prints, and what its value says or else draws; not how far it was."""
    printed = "".join(each["text"] for each in outputs if each.get("name") == "stdout")
    shown = [(_COLOURS.sub("", printed), b"")]
    shown += [
        (data["text/plain"], base64.b64decode(data.get("image/png", "")))
        for data in (each["data"] for each in outputs if "data" in each)
    ]
    return [(text, picture) for text, picture in shown if text.strip()]
