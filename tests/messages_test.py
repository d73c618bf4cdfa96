"""Every error in the package says what came in the same words, and ends as a sentence."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "fcam_tf"


def text_of(node):
    """Return the text of an expression, with {} for what it is given."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(text_of, node.values))
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    return "{}"


def messages(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            yield node.lineno, text_of(node.exc.args[0])


@pytest.mark.parametrize("text", ["`x` must be 1. Received: {x}", "x must be 1, got {x}"])
def test_what_is_looked_for_is_found(text, tmp_path):
    (tmp_path / "x.py").write_text(f"raise ValueError(f{text!r})")
    with pytest.raises(AssertionError):
        check(tmp_path / "x.py")


def check(path):
    for line, text in messages(path):
        assert ", got " not in text, f"{path}:{line} says what came by 'Received: '"
        if text.startswith("`") and "Received: " in text:
            assert text.endswith("."), f"{path}:{line} ends without a full stop"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_errors_say_what_came(path):
    check(path)
