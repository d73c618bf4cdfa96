import base64
from types import SimpleNamespace

from tools import site_pages


def cell(source, *outputs, kind="code"):
    return SimpleNamespace(cell_type=kind, source=source, outputs=outputs)


def test_page_shows_what_code_prints_and_draws_without_progress_and_colours():
    cells = [
        cell("# Title", kind="markdown"),
        cell(
            "%%sh\nfcam zoo list",
            {"name": "stderr", "text": "10 %\r100 %\n"},
            {"name": "stdout", "text": "\x1b[1mna"},
            {"name": "stdout", "text": "me\x1b[0m\n"},
        ),
        cell(
            "picture",
            {
                "data": {
                    "text/plain": "<Image>",
                    "image/png": base64.b64encode(b"\x89PNG").decode(),
                }
            },
        ),
        cell("x = 1"),
    ]

    text, pictures = site_pages.with_output(SimpleNamespace(cells=cells), "it")

    assert text.split("\n\n") == [
        "# Title",
        "``` sh\nfcam zoo list\n```",
        "``` { .text .output }\nname\n```",
        "``` python\npicture\n```",
        "![What the code draws](it-1.png)",
        "``` python\nx = 1\n```",
    ]
    assert pictures == {"it-1.png": b"\x89PNG"}


def test_links_to_pages_outside_docs_lead_to_them_in_the_site():
    page = SimpleNamespace(file=SimpleNamespace(src_uri="reference/index.md"))

    text = site_pages.on_page_markdown("[a](../../README.md#start) [b](cams.md)", page, None, None)

    assert text == "[a](../README.md#start) [b](cams.md)"
