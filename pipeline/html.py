"""Render HTML pages from Jinja2 templates that escape every value.

Templates lie in a folder `templates/` beside the package that renders them:

    page = template("pipeline.search", "spot_check.html").render(title="<b>hostile</b>")

Every value is escaped unless a template or its caller marks it as HTML (`markupsafe.Markup`). A name that the caller
did not pass raises `jinja2.UndefinedError` instead of rendering as nothing. Text from strangers (titles, channels,
error messages) goes through the filter `plain` first: `{{ title | plain(140) }}`.
"""

from __future__ import annotations

from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup
from markupsafe import escape as _escape

from pipeline.outside import shown_text


def template(package: str, name: str) -> Template:
    """Return the template `templates/<name>` of a package, given by its dotted name."""
    return _environment(package).get_template(name)


@lru_cache
def _environment(package: str) -> Environment:
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["plain"] = plain_text
    return environment


def plain_text(text: object, max_length: int = 200) -> str:
    """Return a stranger's text, cut to `max_length` characters; each one that does not print becomes a space.

    Addresses in it are shown without user, password and query.
    """
    plain = "".join(letter if letter.isprintable() else " " for letter in shown_text(text))
    return plain if len(plain) <= max_length else plain[: max_length - 1] + "…"


def escape(text: object, max_length: int = 300) -> Markup:
    """Return `plain_text` escaped, for HTML and SVG that Python code builds without a template."""
    return _escape(plain_text(text, max_length))
