import pytest

pytest.importorskip("griffe", reason="the extra docs is not installed")


def test_reference_sees_names_that_are_imported_on_first_use(tmp_path):
    import griffe  # noqa: PLC0415 - as above

    from tools import site_names  # noqa: PLC0415

    package = tmp_path / "lazy"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import lazy_loader\n"
        "__getattr__, _, _ = lazy_loader.attach(__name__, ['plain'], submod_attrs={'one': ['f']})\n"
    )
    (package / "one.py").write_text("def f(x: int): ...\n")
    extensions = griffe.load_extensions(site_names.LazyNames)

    loaded = griffe.load("lazy", search_paths=[tmp_path], extensions=extensions)

    assert loaded["f"].is_alias
    assert [parameter.name for parameter in loaded["f"].parameters] == ["x"]
    assert "plain" not in loaded.members
