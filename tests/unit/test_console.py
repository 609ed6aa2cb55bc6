"""Pages are followed as a reader would, and what they show must be all that is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.console import Step, follow, matches, steps_of

PAGE = """\
1. Write a file:

    ```yaml title="small.yaml"
    clips: {seconds: 4}
    ```

2. Read it:

    ```console
    $ NAME=small
    $ wc -l < $NAME.yaml && echo "took 0.3 s"
    1
    took 0.1 s
    $ cat <<'EOF'
    > one
    > EOF
    ...
    ```

```sh
never run
```
"""


def test_files_and_commands_of_a_page_are_found_in_order_and_other_blocks_are_left_out() -> None:
    assert steps_of(PAGE) == [
        Step("clips: {seconds: 4}\n", "small.yaml"),
        Step("NAME=small"),
        Step('wc -l < $NAME.yaml && echo "took 0.3 s"', shown=["1", "took 0.1 s"]),
        Step("cat <<'EOF'\none\nEOF", shown=["..."]),
    ]


def test_a_page_that_shows_what_is_printed_passes_and_one_that_does_not_names_the_command(tmp_path: Path) -> None:
    folder, other = tmp_path / "a", tmp_path / "b"
    folder.mkdir()
    other.mkdir()
    follow(PAGE, "page.md", folder, timeout=20)
    with pytest.raises(AssertionError, match=r"page\.md: `wc -l"):
        follow(PAGE.replace("took 0.1 s", "done"), "page.md", other, timeout=20)


def test_a_command_that_fails_ends_the_page(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="`false` ended with 1"):
        follow("```console\n$ false\n$ echo on\non\n```\n", "page.md", tmp_path, timeout=20)


@pytest.mark.parametrize(
    ("shown", "printed", "fits"),
    [
        (["12 ok, 0 failed"], ["9 ok, 0 failed"], True),
        (["12 ok, 0 failed"], ["12 ok, 3 failed"], False),
        (["12 ok, 3 failed"], ["12 ok, 0 failed"], False),
        (["29.86 dB"], ["9.1 dB"], True),
        (["1,448,436 parameters"], ["20 parameters"], True),
        (["shards b6ecf1103e97: train"], ["shards 00aa00bb11: train"], True),
        (["root  .../root"], ["root /srv/a/root"], True),
        (["one", "...", "two"], ["one", "a", "b", "two"], True),
        (["one", "...", "two"], ["one", "two"], True),
        (["one", "two"], ["one", "a", "two"], False),
        (["one"], ["one", "two"], False),
        (["...", "two"], ["one", "two", "three"], False),
        ([], ["anything"], False),
        ([], [], True),
    ],
)
def test_a_shown_line_stands_for_what_it_may(shown: list[str], printed: list[str], fits: bool) -> None:
    assert matches(shown, printed) is fits
