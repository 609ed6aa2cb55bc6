"""The written page: strangers' texts stay texts, only its own scripts run, and equal inputs give equal bytes."""

import base64
import hashlib
import json
from html.parser import HTMLParser

import pytest

from models.export import html
from models.export.contents import Contents
from models.export.html import page_html

HOSTILE = "</script><script>alert(1)</script><!-- \"'& \u2028 ]]>"


class Parts(HTMLParser):
    """The elements of a page: tags with attributes, and the text of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.blocks, self._open = [], [], None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._open = (tag, dict(attrs), [])

    def handle_data(self, data):
        if self._open:
            self._open[2].append(data)

    def handle_endtag(self, tag):
        if self._open and tag == self._open[0]:
            self.blocks.append((tag, self._open[1], "".join(self._open[2])))
            self._open = None


@pytest.fixture(autouse=True)
def small_runtime(monkeypatch):
    """A page without the megabytes of the runtime."""
    monkeypatch.setattr(html, "runtime_file", lambda name: name.encode())


def page(**changes):
    about = {"width": 160, "height": 90, "actions": [{"label": HOSTILE}], "chords": {"KeyW": 0}, "starts": [HOSTILE]}
    given = {"title": HOSTILE, "note": HOSTILE, "trained_on": HOSTILE, "licence": HOSTILE} | changes
    contents = Contents(metrics=[(HOSTILE, HOSTILE)], about=about, **given)
    return page_html(contents, {"dynamics": b"graph", "decoder": b"other"}, ("wasm", "jspi"), HOSTILE)


def test_texts_of_strangers_end_no_element_and_reach_the_script_unchanged():
    parts = Parts(page())
    scripts = [block for block in parts.blocks if block[0] == "script"]
    # two builds and the page's own; the data; the blobs: nothing else
    kinds = [attributes["type"] for _, attributes, _ in scripts]
    assert kinds.count("module") == 3
    assert kinds.count("application/json") == 1
    assert kinds.count("application/octet-stream") == 4
    assert kinds.count("text/plain") == 1  # the worker's
    assert len(kinds) == 9
    [about] = [text for _, attributes, text in scripts if attributes.get("id") == "about"]
    assert json.loads(about)["actions"] == [{"label": HOSTILE}]
    assert json.loads(about)["starts"] == [HOSTILE]


def test_the_policy_allows_the_scripts_of_the_page_and_no_connection():
    parts = Parts(page())
    [policy] = [
        attributes["content"] for tag, attributes in parts.tags if attributes.get("http-equiv", "").endswith("Policy")
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "connect-src" not in rules
    assert "unsafe-inline" not in policy
    # a worker of the page's own scripts; none from an address
    assert rules["worker-src"] == "blob:"
    for tag, attributes, text in parts.blocks:
        if attributes.get("type", "module") == "module":
            hashed = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{hashed}'" in rules["script-src" if tag == "script" else "style-src"]
    # an address would be asked for, and a handler in an attribute would not run
    for _, attributes in parts.tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        assert all(not (attributes.get(name) or "").startswith(("http", "//")) for name in ("src", "href", "action"))


def test_equal_inputs_give_equal_bytes():
    assert page() == page()
    assert page() != page(note="another")
