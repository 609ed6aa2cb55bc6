"""A failed run of a pass, read from Dagster's events as one sentence."""

from __future__ import annotations

import dagster as dg

from assets.graph.context import USER_ERROR


class PassError(Exception):
    """A run of the pass failed: the reason, whether the user can fix it, and the id of the run."""

    def __init__(self, message: str, *, by_user: bool, run_id: str) -> None:
        super().__init__(message)
        self.by_user, self.run_id = by_user, run_id


def failure_of(title: str, outcome: dg.ExecuteInProcessResult) -> PassError:
    """Return the first reason for which a run failed: a blocking check, or the error of a step.

    Raises:
        KeyboardInterrupt: Ctrl-C ended a step; Dagster has closed the run.
    """
    for evaluation in outcome.get_asset_check_evaluations():
        if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR:
            asset = evaluation.asset_key.to_user_string()
            message = f"{title}: blocking check {evaluation.check_name} of {asset} failed: {evaluation.description}"
            return PassError(message, by_user=False, run_id=outcome.run_id)
    for event in outcome.all_events:
        if event.is_step_failure:
            return _step_failure(title, outcome.run_id, event)
    return PassError(f"{title}: the run failed before its first step", by_user=False, run_id=outcome.run_id)


def _step_failure(title: str, run_id: str, event: dg.DagsterEvent) -> PassError:
    data = event.step_failure_data
    if data.user_failure_data is not None:
        by_user = USER_ERROR in data.user_failure_data.metadata
        text = str(data.user_failure_data.description)
        return PassError(text if by_user else f"{title}: {text}", by_user=by_user, run_id=run_id)
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    if error is not None and error.cls_name == "DagsterExecutionInterruptedError":
        raise KeyboardInterrupt
    reason = error.message.strip() if error is not None else "no error was recorded"
    return PassError(f"{title}: {reason}", by_user=False, run_id=run_id)
