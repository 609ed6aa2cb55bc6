"""What a study that is a list of runs has found, as its page shows it."""

from __future__ import annotations

from collections.abc import Sequence

from assets.report.charts import curves_chart, intervals_chart
from assets.report.study import Chart, Study, Table
from models.studies.cells import on_days
from models.studies.study import Curves, Finished, Intervals, Report
from models.studies.study import Study as Runs


def study_of_runs(
    runs: Runs, report: Report, finished: Sequence[Finished], command: str, num_seeds: int, on: str | None = None
) -> Study:
    """Return a study with its drawings.

    Args:
        runs: the study.
        report: what it found.
        finished: its runs.
        command: repeats it; it names no folder of this machine.
        num_seeds: seeds of each arm that were asked for.
        on: what its clips are of, in a word; None where the study has one section.
    """
    machines = ", ".join(sorted({each.result["machine"] for each in finished}))
    # results of older versions have no date
    when = on_days(each.result["date"] for each in finished if "date" in each.result)
    seeds = ", ".join(str(seed) for seed in sorted({each.run.seed for each in finished}))
    known = [each.result["cpu_s"] for each in finished if each.result["cpu_s"] is not None]
    more = f" ({len(finished) - len(known)} more were stopped and went on)" if len(known) < len(finished) else ""
    about = {"study": runs.name, "data": runs.data(), "command": command, "machine": machines, "seeds": num_seeds}
    return Study(
        name=runs.name if on is None else f"{runs.name}-{on}",
        title=runs.title if on is None else f"{runs.title} On: {on}",
        about=runs.about,
        command=command,
        conditions=f"{machines}{when}; {sum(known) / 60:.1f} CPU-minutes for {len(known)} runs{more}, "
        f"beside what runs share; seeds {seeds} of each arm; data: "
        f"{runs.data()}. Brackets are 95 % intervals: over seeds by Student's t, unless another is named.",
        found=report.sentences,
        tables=[Table(table.title, table.header, table.rows) for table in report.tables],
        charts=[_chart(f"{number}", chart) for number, chart in enumerate(report.charts, 1)],
        figures={**about, "found": list(report.sentences), **report.figures},
    )


def _chart(name: str, chart: Curves | Intervals) -> Chart:
    if isinstance(chart, Curves):
        drawing = curves_chart(
            chart.series, bands=chart.bands, x_label=chart.x_label, log_x=chart.log_x, label=chart.title
        )
        return Chart(name, chart.title, drawing, list(chart.series))
    ends = [end for _, value, low, high in chart.rows for end in (value, low, high) if end is not None]
    ends += [] if chart.mark is None else [chart.mark]
    room = 0.05 * (max(ends) - min(ends)) or 0.5
    drawing = intervals_chart(
        chart.rows, low=min(ends) - room, high=max(ends) + room, mark=chart.mark, label=chart.title
    )
    return Chart(name, chart.title, drawing)
