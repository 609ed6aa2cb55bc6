"""The embedded source rates its own clips until a person does."""

from __future__ import annotations

from classifier.labels.import_file import import_labels
from classifier.labels.stand_in import import_truth
from pipeline.arcade.truth import Truth, write_truth
from pipeline.label_events import current_labels, load_labels


def test_the_embedded_source_rates_its_clips_until_a_person_does(job, pool_writer):
    clips = pool_writer.add("arcade-run", "ggb", source="arcade", native_id="run")
    truth = Truth("run", "black_intro", 48.0, ((0.0, 16.0, 1), (16.0, 32.0, 5)), None, "f")
    write_truth(job.home.arcade, truth)
    assert import_truth(job) == 2
    assert import_truth(job) == 0
    assert current_labels(job.store, job.config) == {clips[0]: 1, clips[1]: 5}
    assert load_labels(job.store, job.config).by_people == frozenset()
    import_labels(job.store, pool_writer.rate({clips[1]: 2}), "ann", job.config)
    labels = load_labels(job.store, job.config)
    assert labels.ratings == {clips[0]: 1, clips[1]: 2}
    assert (labels.by_people, labels.annotators) == (frozenset({clips[1]}), {"ann": 1, "arcade": 2})
