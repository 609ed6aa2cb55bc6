"""HTML: what strangers wrote is text, and a template never renders a value that it did not get."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import jinja2
import pytest
from markupsafe import Markup

from pipeline.html import escape, plain_text, template


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package with one template, importable for the test alone."""
    folder = tmp_path / "a_package_with_a_template"
    (folder / "templates").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "templates" / "page.html").write_text("<p title='{{ title }}'>{{ title | plain(12) }}</p>\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder.name
    sys.modules.pop(folder.name, None)


def test_a_template_escapes_every_value(package: str) -> None:
    page = template(package, "page.html").render(title="<b>'\"&</b>")
    assert page == "<p title='&lt;b&gt;&#39;&#34;&amp;&lt;/b&gt;'>&lt;b&gt;&#39;&#34;&amp;&lt;/b&gt;</p>\n"


def test_html_of_our_own_is_not_escaped_again(package: str) -> None:
    assert "<p title='<i>'>" in template(package, "page.html").render(title=Markup("<i>"))


def test_a_missing_value_is_an_error_and_not_an_empty_place(package: str) -> None:
    with pytest.raises(jinja2.UndefinedError, match="title"):
        template(package, "page.html").render()


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a\x00b\u202ec\n", "a b c "),
        ("a\ud800b", "a b"),
        ("x" * 20, "x" * 9 + "…"),
        ("x" * 10, "x" * 10),
        (None, "None"),
    ],
)
def test_plain_text_has_no_control_characters_and_an_end(text: object, plain: str) -> None:
    assert plain_text(text, 10) == plain


def test_escape_cuts_before_it_escapes() -> None:
    assert escape("<" * 20, 3) == "&lt;&lt;…"
