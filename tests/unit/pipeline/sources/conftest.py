"""What the tests of sources share: a site of the inner network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile import HostileSite


@pytest.fixture
def inner() -> Iterator[HostileSite]:
    """A site of the inner network that no stranger may reach."""
    site = HostileSite()
    site.add("/secret", b"<html><title>router</title></html>")
    yield site
    site.close()
