"""Start the files of tests that take longest first, so that no process is left alone with one at the end.

`--dist loadfile` gives a file to a process as a whole, and by itself begins with the files of most tests: the proofs of
minutes are one or two tests a file, and would come last. The figures are seconds of one process on an idle machine, as
`--durations 0` has told them, or of its processor and its children's; only their order counts, and a file without one
is taken for a short one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest

A_TEST_S = 0.1
"""Seconds of a test in a file that is not named."""

FAST: Mapping[str, float] = {
    "tests/laws/test_takedown_in_mid_write.py": 75,
    "tests/e2e/test_faults.py": 55,
    "tests/assets/test_runs.py": 48,
    "tests/unit/classifier/decision/test_decide.py": 40,
    "tests/numerics/test_starts.py": 38,
    "tests/assets/test_training_runs.py": 36,
    "tests/e2e/test_play_page.py": 35,
    "tests/unit/classifier/training/test_bad_input.py": 30,
    "tests/unit/models/training/test_starting.py": 28,
    "tests/e2e/test_ui.py": 27,
    "tests/numerics/test_by_heart.py": 26,
    "tests/e2e/test_collect.py": 25,
    "tests/unit/pipeline/storage/test_s3_faults.py": 25,
    "tests/assets/test_model_choice.py": 25,
    "tests/unit/classifier/training/test_train.py": 25,
    "tests/unit/models/training/test_unseen_actions.py": 22,
    "tests/e2e/test_secrets.py": 20,
    "tests/e2e/test_label_page.py": 20,
    "tests/numerics/test_accumulate.py": 20,
    "tests/numerics/test_golden.py": 19,
    "tests/laws/test_takedown_to_the_last_byte.py": 15,
    "tests/threats/test_files.py": 14,
    "tests/unit/pipeline/download/test_changed_files.py": 12,
    "tests/threats/test_deep_check.py": 10,
    "tests/unit/pipeline/clips/test_cut_limits.py": 10,
    "tests/unit/pipeline/clips/test_cut_batch.py": 10,
    "tests/unit/pipeline/shards/test_verify.py": 10,
    "tests/unit/pipeline/download/test_circuit_breaker.py": 10,
    "tests/unit/pipeline/download/test_batch.py": 9,
    "tests/unit/pipeline/clips/test_actions.py": 9,
    "tests/unit/classifier/training/test_processors.py": 8,
    "tests/unit/assets/report/test_page.py": 8,
    "tests/unit/assets/cli/test_models.py": 8,
    "tests/unit/pipeline/download/test_outside_numbers.py": 8,
    "tests/unit/pipeline/inspect/test_status.py": 7,
    "tests/e2e/test_takedown.py": 7,
    "tests/e2e/test_youtube_collect.py": 6,
    "tests/unit/pipeline/sources/test_endless_answers.py": 6,
    "tests/assets/test_contact.py": 4,
}
"""`make test`"""

SLOW: Mapping[str, float] = {
    "tests/slow/test_deployment.py": 380,
    "tests/slow/test_killed_assets.py": 350,
    "tests/e2e/test_collect.py": 140,
    "tests/slow/test_ranks.py": 140,
    # 300, and not beside the deployment, which starts a cluster too
    "tests/slow/test_ray_cluster.py": 130,
    "tests/slow/test_two_thousand.py": 120,
    "tests/e2e/test_recordings.py": 100,
    "tests/e2e/test_interruption.py": 90,
    "tests/threats/test_at_once.py": 80,
    "tests/slow/test_documented_procedures.py": 80,
    # nothing, unless it is asked for: then 540, of which two cores do little else
    "tests/slow/test_containers.py": 78,
    "tests/slow/test_trainings_in_processes.py": 75,
    "tests/slow/test_pages_of_many_partitions.py": 30,
    "tests/laws/test_takedown_to_the_last_byte.py": 60,
    "tests/unit/pipeline/storage/test_s3_sizes.py": 35,
    "tests/unit/assets/cli/test_bench_s3.py": 30,
    "tests/e2e/test_square.py": 62,
    "tests/e2e/test_folder.py": 60,
    "tests/e2e/test_play_page_whole.py": 50,
    "tests/e2e/test_changing_folder.py": 50,
    "tests/slow/test_oracle.py": 47,
    "tests/assets/test_training_runs.py": 49,
    # these two are not measured yet
    "tests/slow/test_operators_day.py": 60,
    "tests/slow/test_operators_day_learning.py": 50,
    "tests/slow/test_full_store.py": 50,
    "tests/threats/test_disk.py": 45,
    "tests/slow/test_takedown_and_train_again.py": 40,
    # these four are not measured yet
    "tests/slow/test_cloning.py": 40,
    "tests/slow/test_a_world_led_by_true_actions.py": 40,
    "tests/slow/test_study_prompts.py": 30,
    "tests/slow/test_bench_play.py": 60,
    "tests/slow/test_study_asset.py": 15,
    "tests/slow/test_training_on_a_full_disk.py": 30,
    "tests/slow/test_latent_actions_learn.py": 21,
    "tests/slow/test_decide_a_million.py": 37,
    "tests/e2e/test_cases.py": 35,
    "tests/assets/test_sensor.py": 8,
    "tests/slow/test_coinrun.py": 30,
    "tests/slow/test_copies_of_recordings.py": 30,
    "tests/slow/test_robotics.py": 30,
    "tests/e2e/test_s3.py": 25,
    "tests/unit/pipeline/bench/test_clips.py": 25,
    "tests/slow/test_ten_thousand_frames.py": 20,
    "tests/e2e/test_why_file.py": 18,
    "tests/unit/pipeline/storage/test_s3_faults.py": 15,
    "tests/threats/test_mending.py": 15,
    # these three are not measured yet
    "tests/slow/test_coinrun_recorded.py": 10,
    "tests/slow/test_interval_of_precision.py": 10,
    # only where they are asked for
    "tests/slow/test_backfill.py": 0,
    "tests/slow/test_oracle_of_the_demo.py": 0,
    "tests/slow/test_logits_of_a_large_batch.py": 10,
}
"""`make test-slow`"""


def longest_first(items: list[pytest.Item], seconds: Mapping[str, float]) -> None:
    """Sort tests by the time that their file takes; those of a file stay together and in their order."""
    counts = Counter(_file_of(item) for item in items)

    def sooner(item: pytest.Item) -> float:
        name = _file_of(item)
        return -seconds.get(name, A_TEST_S * counts[name])

    items.sort(key=sooner)


def _file_of(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]
