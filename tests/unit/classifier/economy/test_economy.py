"""What labels are worth: more labels rank better, active labels go where the model is unsure, and no source is on both
sides."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from assets.cli.bench_economy import economy_lines
from assets.cli.main import main
from classifier.economy.measure import label_economy
from classifier.economy.orders import active_order, random_order
from classifier.economy.stored import ECONOMY_KEY, ORDERS, LabelEconomy, load_economy, save_economy
from classifier.training.arrays import Floats
from classifier.training.examples import Examples
from pipeline.config import ClassifierConfig
from pipeline.errors import UserError
from pipeline.storage.damage import DamagedError
from pipeline.storage.store import Store
from tests.rated import made_up as rated_clips

CONFIG = ClassifierConfig(folds=3)


def made_up(num_sources: int = 15, of_source: int = 6, noise: float = 0.6) -> Examples:
    """Return clips whose rating is the sum of two measurements, among ten that say nothing."""
    rng = np.random.default_rng(0)
    count = num_sources * of_source
    features = rng.normal(0, 1, (count, 12))
    rating = np.clip(np.round(3 + 1.2 * (features[:, 0] + features[:, 1]) + rng.normal(0, noise, count)), 1, 5)
    rated = rated_clips(rating.astype(int).tolist(), [f"source {i // of_source}" for i in range(count)])
    return replace(rated, features_NF=features)


def least_squares(learning: Examples, config: ClassifierConfig, seed: int) -> Callable[[Examples], Floats]:
    """Return a ridge regression on the rating, in place of the slower candidate."""
    x = learning.features_NF
    weights = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ (learning.rating_N - 3.0))
    return lambda scored: scored.features_NF @ weights + 3


@pytest.fixture(scope="module")
def economy() -> LabelEconomy:
    return label_economy(made_up(), CONFIG, repeats=3, sizes=(10, 20, 40), fit=least_squares)


def test_more_labels_rank_better_and_each_figure_has_its_interval(economy: LabelEconomy) -> None:
    for order in ORDERS:
        points = [point for point in economy["points"] if point["order"] == order]
        assert [point["labels"] for point in points] == [10, 20, 40, 60]
        reached = [point["auc"]["auc"] or 0 for point in points]
        assert reached[0] < reached[-1]
        assert reached[-1] > 0.9
        assert (points[-1]["keep_precision"] or 0) > economy["good_share"]
        for point in points:
            assert point["auc"]["interval"] is not None
            assert point["keep_interval"] is not None
            assert point["auc"]["interval"][0] <= (point["auc"]["auc"] or 0) <= point["auc"]["interval"][1]
    # both orders begin with the same clips and end with all
    first, last = ([p for p in economy["points"] if p["labels"] == labels] for labels in (10, 60))
    assert first[0]["auc"] == first[1]["auc"]
    assert last[0]["auc"] == last[1]["auc"]
    assert [gain["labels"] for gain in economy["gains"]] == [10, 20, 40]
    assert economy == label_economy(made_up(), CONFIG, repeats=3, sizes=(10, 20, 40), fit=least_squares)


def test_no_source_is_learned_from_and_tested() -> None:
    seen: list[set[str]] = []

    def fit(learning: Examples, config: ClassifierConfig, seed: int) -> Callable[[Examples], Floats]:
        def score(scored: Examples) -> Floats:
            # the active order scores all clips, the test those of other sources alone
            if len(scored) < len(made_up()):
                seen.append(set(learning.groups) & set(scored.groups))
            return scored.features_NF[:, 0]

        return score

    label_economy(made_up(), CONFIG, repeats=1, sizes=(10,), fit=fit)
    assert seen
    assert not any(seen)


def test_the_active_order_asks_where_the_model_is_unsure_and_for_clips_unlike_the_others() -> None:
    examples = made_up()
    base = random_order(examples.groups, np.arange(len(examples)), seed=1)
    assert len({examples.groups[row] for row in base[:15].tolist()}) == 15
    unsure = np.where(np.arange(len(examples)) % 3 == 0, 3.0, 5.0)
    asked = active_order(base, examples.features_NF, [10, 30], lambda rows: unsure)
    assert asked[:10].tolist() == base[:10].tolist()
    assert sorted(asked.tolist()) == sorted(base.tolist())
    assert (unsure[asked[10:20]] == 3.0).all()
    far = examples.features_NF.copy()
    outlier = next(row for row in base[40:].tolist() if unsure[row] == 5.0)
    far[outlier] = 100
    assert outlier in active_order(base, far, [10, 30], lambda rows: unsure)[20:25]


def test_the_table_says_what_it_is_made_of_and_few_clips_are_too_few_to_tell(economy: LabelEconomy) -> None:
    lines = economy_lines(economy)
    assert lines[0].startswith("90 rated clips of 15 groups by source, ")
    assert [line.split()[0] for line in lines[3:7]] == ["10", "20", "40", "60"]
    assert len(lines) == 7
    small = label_economy(made_up(6, 6), CONFIG, repeats=1, sizes=(10,), fit=least_squares)
    assert economy_lines(small)[-1].startswith("too few to tell: ")
    with pytest.raises(UserError, match=r"12 rated clips leave \d+ to learn from.*lampworks label"):
        label_economy(made_up(6, 2, noise=0), CONFIG, repeats=1, fit=least_squares)


def test_it_is_stored_for_the_report_and_damage_is_told(store: Store, economy: LabelEconomy) -> None:
    assert load_economy(store) is None
    save_economy(store, economy)
    found = load_economy(store)
    assert found is not None
    assert economy_lines(found) == economy_lines(economy)
    store.write_blob(ECONOMY_KEY, b'{"format": 1}')
    with pytest.raises(DamagedError, match="lampworks bench economy --save"):
        load_economy(store)
    store.write_blob(ECONOMY_KEY, b'{"format": 0}')
    assert load_economy(store) is None


@pytest.mark.slow
def test_the_command_measures_the_rated_clips_of_a_root_and_saves_it_only_where_asked(
    trained_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(trained_root, tmp_path / "root")
    command = ["bench", "economy", "--root", str(root), "--folds", "2", "--repeats", "1"]
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("24 rated clips of 12 groups by source, 50% of them good")
    assert load_economy(Store(root)) is None
    assert main([*command, "--save"]) == 0
    assert f"`lampworks report --root {root}` shows it" in capsys.readouterr().out
    assert (load_economy(Store(root)) or {})["clips"] == 24
