"""Candidates are numbers alone, score each clip by itself, and do without what is missing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.preprocessing import QuantileTransformer
from sklearn.svm import SVR

from classifier.training.candidates import measurements
from classifier.training.candidates.blend import BlendScorer, Spread
from classifier.training.candidates.choices import left_out, scorer_from_state
from classifier.training.candidates.embedding import fit_embedding
from classifier.training.candidates.measurements import fit_measurements
from classifier.training.candidates.network import fit_network, lacking_extremes
from classifier.training.candidates.numbers import Quantiles, SupportVectors, Trees
from classifier.training.examples import Examples, feature_names
from classifier.training.folds import Fold
from classifier.training.frames import ClipFrames
from classifier.training.inputs import ClipInputs
from pipeline.clips.features import LEARNED_NAMES
from pipeline.config import ClassifierConfig
from pipeline.errors import UserError
from tests.rated import made_up

CONFIG = ClassifierConfig(width=2, input_height=15, frames_per_clip=2, steps=3, batch=8, threads=1, device="cpu")
EVERYTHING = frozenset({"features", "frames", "embedding"})
CPU = torch.device("cpu")


def rated(count: int = 40) -> Examples:
    """Return clips of 8 sources with measurements, embeddings and frames that follow the rating."""
    ratings = [1 + index % 5 for index in range(count)]
    found = made_up(ratings, [f"s{index // 5}" for index in range(count)])
    rng = np.random.default_rng(1)
    embedding_ND = rng.normal(0, 1, (count, 12)).astype(np.float32) + np.array(ratings, np.float32)[:, None]
    frames = torch.full((count, 2, 3, 15, 26), 0, dtype=torch.uint8)
    frames += (torch.tensor(ratings) * 40)[:, None, None, None, None].to(torch.uint8)
    return replace(found, embedding_ND=embedding_ND, frames=ClipFrames(frames, np.arange(count)))


def everything(examples: Examples) -> ClipInputs:
    return examples.inputs(np.arange(len(examples)), EVERYTHING)


def test_the_scores_from_stored_numbers_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (90, 5)) * [1, 1e3, 1e-3, 1, 1]
    x[:, 3] = rng.integers(0, 3, 90)
    y = x[:, 0] + x[:, 3] + rng.normal(0, 0.1, 90)
    # also beyond what was learned, and exactly at its ends
    new = np.concatenate([x, x * 3, x.min(0)[None], x.max(0)[None], np.zeros((1, 5))])
    ranks = QuantileTransformer(n_quantiles=40).fit(x)
    assert Quantiles.of(ranks).apply(new) == pytest.approx(ranks.transform(new), abs=1e-9)
    vectors = SVR().fit(ranks.transform(x), y)
    shares = ranks.transform(new)
    assert SupportVectors.of(vectors).predict(shares) == pytest.approx(vectors.predict(shares), abs=1e-9)
    trees = ExtraTreesRegressor(20, min_samples_leaf=2, random_state=0).fit(x, y)
    # also just beyond a node's threshold, where 32 bits fall on one side and 64 on the other
    edges = np.concatenate([tree.tree_.threshold[tree.tree_.feature == 0] for tree in trees.estimators_]) + 1e-12
    near = np.column_stack([edges, np.zeros((len(edges), 4))])
    for rows in (new, near):
        assert Trees.of(trees).predict(rows) == pytest.approx(trees.predict(rows), abs=1e-9)
    assert len(Trees.of(trees).predict(x[:0])) == 0


@pytest.mark.parametrize("name", ["measurements", "embedding", "network", "blend"])
def test_a_candidate_read_back_scores_alike_and_each_clip_by_itself(name: str) -> None:
    examples = rated()
    parts = {"measurements": fit_measurements(examples, CONFIG, 0), "embedding": fit_embedding(examples, CONFIG, 0)}
    spreads = {part: Spread.of(scorer.scores(everything(examples))) for part, scorer in parts.items()}
    scorer = {
        **parts,
        "network": fit_network(examples, CONFIG, 0),
        "blend": BlendScorer(parts, spreads),
    }[name]
    scores = scorer.scores(everything(examples))
    state = scorer.state()
    document, tensors = json.loads(json.dumps(state.document)), load(save(dict(state.tensors)))
    again = scorer_from_state(name, document, tensors, CPU)
    assert again.needs == scorer.needs
    assert (again.scores(everything(examples)) == scores).all()
    rows = [again.scores(examples.inputs(np.array([row]), again.needs))[0] for row in range(len(examples))]
    assert (np.array(rows) == scores).all(), "a clip's score does not depend on the clips beside it"
    if name != "network":
        assert np.corrcoef(scores, examples.rating_N)[0, 1] > 0.8


def test_measurements_that_some_or_all_clips_lack_cost_no_clip_its_score() -> None:
    examples = rated()
    x = examples.features_NF.copy()
    x[::3, feature_names().index("movers")] = np.nan
    x[:, -2:] = np.nan  # rows of a version with fewer measurements
    examples = replace(examples, features_NF=x)
    scorer = fit_measurements(examples, CONFIG, 0)
    assert len(scorer.names) == len(LEARNED_NAMES) - 2
    scores = scorer.scores(everything(examples))
    assert np.isfinite(scores).all()
    assert np.isfinite(scorer.scores(ClipInputs(np.full((2, x.shape[1]), np.nan)))).all()


def test_how_a_game_looks_is_not_learned_though_it_tells_the_rated_games_apart() -> None:
    examples = rated()
    x = examples.features_NF.copy()
    looks = [feature_names().index(name) for name in ("luma_mean", "saturation", "edge_density")]
    x[:, looks] = examples.rating_N[:, None]
    scorer = fit_measurements(replace(examples, features_NF=x), CONFIG, 0)
    before = scorer.scores(ClipInputs(x))
    x[:, looks] = 6 - x[:, looks]
    assert (scorer.scores(ClipInputs(x)) == before).all(), "another game with other colours"


def test_clips_that_have_none_of_the_learned_measurements_leave_the_candidate_out() -> None:
    examples = rated()
    x = np.full_like(examples.features_NF, np.nan)
    x[:, feature_names().index("luma_mean")] = 1.0
    bare, halves = replace(examples, features_NF=x), [Fold(np.arange(20), np.arange(20, 40))]
    assert left_out("measurements", examples, halves, CONFIG) == ""
    assert left_out("measurements", bare, halves, CONFIG).startswith(
        "the clips of a fold have none of the measurements"
    )


def test_a_model_of_measurements_that_are_not_made_any_more_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    examples = rated()
    scorer = fit_measurements(examples, CONFIG, 0)
    monkeypatch.setattr(measurements, "feature_names", lambda: tuple(scorer.names[1:]))
    with pytest.raises(UserError, match=rf"does not make \({scorer.names[0]}\): train it again with `lampworks run`"):
        scorer.scores(everything(examples))


def test_measurements_are_found_by_name_where_this_version_makes_more(monkeypatch: pytest.MonkeyPatch) -> None:
    examples = rated()
    scorer = fit_measurements(examples, CONFIG, 0)
    before = scorer.scores(everything(examples))
    monkeypatch.setattr(measurements, "feature_names", lambda: ("a new one", *feature_names()))
    more = np.column_stack([np.full(len(examples), 9.0), examples.features_NF])
    assert (scorer.scores(ClipInputs(more)) == before).all()


def test_a_clip_without_an_embedding_has_no_score_of_it_and_the_blend_uses_the_other_part() -> None:
    examples = rated()
    gone = examples.embedding_ND.copy()
    gone[3] = np.nan
    examples = replace(examples, embedding_ND=gone)
    embedding, hand = fit_embedding(examples, CONFIG, 0), fit_measurements(examples, CONFIG, 0)
    found = embedding.scores(everything(examples))
    assert np.flatnonzero(np.isnan(found)).tolist() == [3]
    parts = {"measurements": hand, "embedding": embedding}
    spreads = {name: Spread.of(part.scores(everything(examples))) for name, part in parts.items()}
    blended = BlendScorer(parts, spreads).scores(everything(examples))
    alone = spreads["measurements"].standardize(hand.scores(everything(examples)))
    assert blended[3] == pytest.approx(alone[3] / 2)


@pytest.mark.parametrize("targets", ["ordinal", "soft"])
def test_ordinal_and_soft_targets_learn_from_the_middle_too(targets: str) -> None:
    examples = rated()
    middle = examples.take(np.isin(examples.rating_N, (2, 3, 4)))
    config = replace(CONFIG, targets=targets, steps=60, learning_rate=1e-2)
    assert lacking_extremes(middle, config) == ""
    scores = fit_network(middle, config, 0).scores(everything(examples))
    assert np.corrcoef(scores, examples.rating_N)[0, 1] > 0.6


def test_paper_targets_need_fives_and_ones_and_say_what_else_learns() -> None:
    examples = rated()
    why = lacking_extremes(examples.take(examples.rating_N < 5), CONFIG)
    assert "fives of 0 and ones of 8 sources" in why
    assert "ordinal and soft learn from all ratings" in why
