"""What the checks of an evaluation say."""

from types import SimpleNamespace

import pytest

from assets.graph import evaluate

GATES = {
    name: {"passed": True, "value": 6.0, "threshold": 5.0}
    for name in (
        "delta_t_psnr_permuted",
        "latent_action_mutual_information",
        "latent_action_mutual_information_ratio",
    )
}


@pytest.mark.parametrize(("best", "passed"), [(None, True), (6.9, True), (7.2, False)])
def test_only_a_fall_that_the_interval_excludes_is_one(best, passed, monkeypatch):
    monkeypatch.setattr(evaluate, "_best_before", lambda work, evaluation: best)
    found = {"gates": GATES, "delta_t_psnr_permuted": {"value": 6.0, "low": 5.1, "high": 7.0, "num_sources": 10}}
    checks = {check.check_name: check for check in evaluate._checks(None, SimpleNamespace(metrics=found))}
    assert checks["delta_t_psnr"].passed is passed
    assert "now 6.00 dB [5.10, 7.00]" in checks["delta_t_psnr"].description


def test_a_gate_that_cannot_be_told_says_why(monkeypatch):
    monkeypatch.setattr(evaluate, "_best_before", lambda work, evaluation: None)
    few = {"passed": None, "value": None, "threshold": 10.0, "reason": "too few to tell: 3 sources"}
    found = {"gates": {**GATES, "latent_action_mutual_information_ratio": few}, "delta_t_psnr_permuted": 6.0}
    checks = {check.check_name: check for check in evaluate._checks(None, SimpleNamespace(metrics=found))}
    assert checks["action_information"].passed
    assert "ratio to chance: too few to tell: 3 sources (asks 10)" in checks["action_information"].description


def test_an_older_evaluation_without_an_interval_is_compared_by_its_value(monkeypatch):
    monkeypatch.setattr(evaluate, "_best_before", lambda work, evaluation: 6.1)
    found = {"gates": GATES, "delta_t_psnr_permuted": 6.0}
    record = SimpleNamespace(metrics=found)
    checks = {check.check_name: check for check in evaluate._checks(None, record)}
    assert not checks["delta_t_psnr"].passed
