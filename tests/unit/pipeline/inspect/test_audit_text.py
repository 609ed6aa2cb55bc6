from typing import Any

from pipeline.inspect.audit_text import audit_lines, change_lines, estimate_text, extreme_lines

ESTIMATE: dict[str, Any] = {
    "value": 0.934, "interval": [0.861, 0.972], "source_interval": [0.801, 0.981], "clips": 100, "sources": 18,
    "few": False,
}  # fmt: skip


def document(rated: int, **state: Any) -> dict[str, Any]:
    figures = {"precision": ESTIMATE, "recall": {**ESTIMATE, "few": True}}
    audit = {
        "drawn": {"audit_high": 100, "audit_low": 100}, "rated": {"audit_high": rated, "audit_low": rated},
        "is_present": True, "by_stand_in": False, "figures": figures,
    }  # fmt: skip
    return {"audit": {**audit, **state}}


def test_a_figure_says_its_intervals_clips_and_sources():
    assert estimate_text(ESTIMATE) == (
        "0.93 (0.86 to 0.97 in this set; 0.80 to 0.98 over sources), 100 clips of 18 sources"
    )
    assert (
        estimate_text({**ESTIMATE, "source_interval": None})
        == "0.93 (0.86 to 0.97 in this set), 100 clips of 18 sources"
    )
    assert estimate_text({**ESTIMATE, "few": True}) == "too few to tell (100 clips of 18 sources rated)"
    assert estimate_text({**ESTIMATE, "value": None, "clips": 0}) == "not known (0 clips of 18 sources rated)"


def test_an_audit_says_what_is_left_to_do():
    assert audit_lines(document(0)) == ["none of its 200 clips is rated: `lampworks label --audit`"]
    everything = document(0, drawn={"audit_high": 0, "audit_low": 0})
    assert audit_lines(everything) == ["people rated every clip that could be asked about"]
    partly = audit_lines(document(40))
    assert partly[1] == "recall                 too few to tell (100 clips of 18 sources rated)"
    assert partly[2] == "80 of 200 clips are rated: `lampworks label --audit` goes on"
    assert len(audit_lines(document(100))) == 2
    assert audit_lines(document(40, is_present=False))[2].startswith("of an earlier decision")
    assert "embedded source" in audit_lines(document(100, by_stand_in=True))[2]


def test_changes_are_counted_with_their_reasons():
    why = [
        {"change": "entered", "before": f"drop: {name}", "now": "keep: score", "clips": 5 - place}
        for place, name in enumerate(["score", "flag still", "rated 2", "duplicate", "channel cap"])
    ]
    changes = {"entered": 15, "left": 0, "new": 3, "gone": 1, "churn": 0.25, "why": why}
    assert change_lines(changes) == [
        "15 entered, 0 left; 3 new clips, 1 gone; 25.0% of the others have another verdict",
        "5 entered: drop: score -> keep: score",
        "4 entered: drop: flag still -> keep: score",
        "3 entered: drop: rated 2 -> keep: score",
        "3 for other reasons (table curation_changes)",
    ]
    assert change_lines({**changes, "entered": 0, "new": 0, "gone": 0, "churn": None, "why": []}) == [
        "0 entered, 0 left"
    ]
    assert change_lines(None) == []


def test_slices_that_are_all_kept_or_all_left_are_named():
    rows = [{"name": f"s{k}", "clips": 30 - k, "keep_rate": k % 2} for k in range(4)]
    found = {"year": {"extremes": rows, "num_extremes": 6}, "flag": {"extremes": [], "num_extremes": 0}}
    assert extreme_lines(found) == ["year: s0 (none of 30 kept), s1 (all of 29 kept), s2 (none of 28 kept) and 3 more"]
