from __future__ import annotations

import io

from pipeline.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_line_tells_stage_done_total_rate_and_time_left():
    progress = Progress("clips", total=10, unit="videos", stream=io.StringIO())
    progress.advance(4)
    line = progress.line()
    assert line.startswith("clips: 4/10 videos, ")
    assert "/s" in line
    assert line.endswith(" left")


def test_nothing_is_left_when_all_is_done_and_nothing_is_promised_without_a_total():
    done = Progress("clips", total=2, stream=io.StringIO())
    done.advance(2)
    endless = Progress("search", stream=io.StringIO())
    endless.advance(2)
    fresh = Progress("clips", total=2, stream=io.StringIO())
    assert not any("left" in progress.line() for progress in (done, endless, fresh))
    assert endless.line().startswith("search: 2 items")


def test_a_log_gets_few_lines_and_always_the_last():
    log = io.StringIO()
    with Progress("clips", total=1000, stream=log, every_s=3600) as progress:
        for _ in range(1000):
            progress.advance()
    lines = log.getvalue().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("clips: 1000/1000 items")
    assert "took" in lines[0]
    assert "\r" not in log.getvalue()


def test_a_terminal_redraws_one_line():
    terminal = Terminal()
    with Progress("clips", total=2, stream=terminal) as progress:
        progress.advance(2)
    text = terminal.getvalue()
    assert text.startswith("\r")
    assert text.endswith("\n")
    assert text.count("\n") == 1


def test_a_listener_hears_what_the_log_shows():
    heard: list[str] = []
    log = io.StringIO()
    with Progress("clips", total=3, stream=log, every_s=0, on_progress=heard.append) as progress:
        progress.advance()
        progress.advance(2, note="loss 0.5")
    assert heard == log.getvalue().splitlines()
    assert "(loss 0.5)" in heard[-1]


def test_the_last_line_is_shown_when_the_work_fails():
    log = io.StringIO()
    try:
        with Progress("clips", total=3, stream=log) as progress:
            progress.advance()
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert log.getvalue().startswith("clips: 1/3 items")
