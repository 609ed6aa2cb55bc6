"""An evaluation is published once per input, with pictures that play can start from."""

import contextlib
import dataclasses
import io
import json

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient, WebSocketDenialResponse

from models.evaluation.evaluate import evaluate, evaluation_is_current
from models.evaluation.held_out import held_out_clips, true_actions
from models.metrics import psnr
from models.play.check import check_playable
from models.play.key_hints import hints_of
from models.play.serve import serve_play
from models.play.starts.held_out import start_frames
from models.training.train import train_tokenizer, train_world_model
from pipeline.arcade.platformer import platformer_actions
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.serving import Address
from pipeline.storage.home import home_of
from pipeline.storage.models_table import newest_model
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown
from tests.play_socket import Page, pixels_of
from tests.shards import add_platformer_shards
from tests.synthetic import job_of
from tests.tiny_world import CONFIG

pytestmark = pytest.mark.heavy

NUM_FRAMES = 20


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A store with shards and a world of one step, evaluated."""
    store = Store(tmp_path_factory.mktemp("root"))
    add_platformer_shards(store, home_of(store), {"train": range(2), "val": range(2, 5)}, NUM_FRAMES)
    with pytest.raises(UserError, match="no world model yet"):
        evaluate(job_of(store, CONFIG))
    train_tokenizer(job_of(store, CONFIG))
    train_world_model(job_of(store, CONFIG))
    lines = []
    report = evaluate(Job(store, CONFIG, home_of(store), lines.append))
    assert any("world_evaluation: 14/14 passes" in line for line in lines)
    assert "true_control: 3/3 parts" in lines[-1]
    return store, report


def test_the_row_holds_every_figure_with_why_it_has_no_interval_and_the_gates(trained):
    store, report = trained
    record = newest_model(store, "world_evaluation")
    metrics = record.metrics
    assert metrics == report.metrics
    assert record.path == report.folder
    for name in (
        "psnr", "psnr_previous_frame", "psnr_mean_frame", "psnr_first_frame", "psnr_kmeans", "psnr_moving",
        "psnr_moving_mean_frame", "delta_t_psnr", "delta_t_psnr_permuted",
        "psnr_t1", "psnr_t4", "copy_t1", "copy_t4",
        "drift_psnr_prefill", "drift_psnr_ring", "drift_ring_below_prefill",
        "latent_action_mutual_information", "latent_action_direction_information",
    ):  # fmt: skip
        assert metrics[name]["low"] is metrics[name]["high"] is None, name
        assert metrics[name]["reason"] == "too few to tell an interval: 3 sources, and 5 are needed", name
    assert {"code_entropy_within_clip", "code_entropy_within_time", "tokenizer_perplexity"} <= set(metrics)
    # three contexts of three frames
    assert [
        len(metrics["drift"][mode]) for mode in ("drift_psnr_prefill", "drift_psnr_ring", "drift_ring_below_prefill")
    ] == [9, 9, 9]
    assert metrics["character_kept_t4"]["num_sources"] == 3
    assert metrics["character_kept_held_t4"]["num_sources"] == 1
    assert len(metrics["character"]["coins_kept"]) == 4
    assert "character_frames" in metrics["character_kept_t30"]["reason"]
    assert any(line.startswith("character_kept_t4: ") for line in report.lines())
    assert "too few to tell: 3 sources, and 8 are needed" in metrics["FVD[random3d]"]["reason"]
    own = next(name for name in metrics if name.startswith("FVD[own-"))
    assert newest_model(store, "video_tokenizer").model_id in own
    assert metrics["rollout_psnr"]["num_sources"] == metrics["rollout_ssim"]["floors"]["tokenizer"]["num_sources"] == 3
    assert metrics["num_sources"] == 3
    # 19 transitions of two training sources
    assert "true actions have 20 transitions in 2 training sources" in metrics["inverse_dynamics_generated"]["reason"]
    assert np.sum(metrics["latent_action_matrix"]["counts"]) == 3 * 19
    assert {"action_consistency_true", "action_probe_codes", "action_probe_vectors"} <= set(metrics)
    assert metrics["enough_sources"] is False
    assert metrics["gates"]["enough_sources"] == {"passed": False, "value": 3, "threshold": 8}
    assert all(set(gate) - {"reason"} == {"passed", "value", "threshold"} for gate in metrics["gates"].values())
    # of three sources chance cannot be told, and the gate that needs it says so
    few = "too few to tell: 3 sources have true actions that change, and 8 are needed to tell chance"
    assert metrics["latent_action_mutual_information_shuffled"]["reason"] == few
    assert metrics["gates"]["latent_action_mutual_information_ratio"]["passed"] is None
    assert f"gate not told: latent_action_mutual_information_ratio: {few}" in report.lines()
    shares = [sum(action["true_actions"].values()) for action in metrics["latent_actions"] if action["true_actions"]]
    assert shares == pytest.approx([1.0] * len(shares), abs=1e-3)
    assert any("only 3 held-out sources" in line for line in report.lines())
    assert [line[:16] for line in report.lines() if line.startswith("latent action ")] == [
        f"latent action {key}:" for key in range(1, 9)
    ]
    twins = [action["twin_of"] for action in metrics["latent_actions"]]
    assert metrics["distinct_actions"]["value"] <= twins.count(None)


def test_an_evaluation_that_is_current_writes_nothing(trained):
    store, report = trained
    before = store.list_blobs("models"), store.version("models")
    assert evaluation_is_current(store, CONFIG)
    again = evaluate(job_of(store, CONFIG))
    assert again.skipped
    assert again.metrics == report.metrics
    assert (store.list_blobs("models"), store.version("models")) == before


def test_other_settings_are_another_evaluation(trained):
    store, _ = trained
    other = dataclasses.replace(CONFIG, evaluation=dataclasses.replace(CONFIG.evaluation, seed=1))
    assert not evaluation_is_current(store, other)


def test_the_pictures_lie_beside_the_clips_that_they_show(trained):
    store, report = trained
    about = json.loads(store.read_blob(f"{report.folder}/pictures.json"))
    files = {key.rsplit("/", 1)[-1] for key in store.list_blobs(report.folder)}
    named = {about["contact_sheet"]["file"], *about["rollouts"]["files"], *(s["file"] for s in about["start_frames"])}
    assert files == {*named, "pictures.json"}
    assert [start["video_id"] for start in about["start_frames"]] == ["lampworksarcade-a2", "lampworksarcade-a3"]
    assert len(about["contact_sheet"]["clips"]) == 3
    # what the labelling queue offers as badly predicted
    assert {row["clip_id"] for row in about["clip_psnr"]} >= set(about["contact_sheet"]["clips"])
    assert np.mean([row["psnr_t1"] for row in about["clip_psnr"]]) > 0
    for name in files - {"pictures.json"}:
        with Image.open(io.BytesIO(store.read_blob(f"{report.folder}/{name}"))) as picture:
            picture.verify()


def test_the_true_actions_are_those_of_the_clips_own_seconds(trained):
    store, _ = trained
    config = dataclasses.replace(CONFIG, evaluation=dataclasses.replace(CONFIG.evaluation, clips_per_source=2))
    clips = held_out_clips(store, config, home_of(store))
    assert [clip.start_ms for clip in clips] == [0, 2000] * 3
    for clip in clips:
        actions = platformer_actions(int(clip.video_id[-1]), 2 * NUM_FRAMES)
        first = clip.start_ms // 100
        assert np.array_equal(clip.actions, actions[first : first + NUM_FRAMES - 1])
        assert psnr(clip.frames_THWC[7], clip.states.shown(7)) > 20
    assert all(clip.actions is clip.states is None for clip in held_out_clips(store, config, None))
    assert true_actions(home_of(store), "a2", 3000, NUM_FRAMES) is None  # the recording ends before
    assert true_actions(home_of(store), "../a2", 0, NUM_FRAMES) is None


def test_the_published_world_is_playable_and_its_page_is_told_what_was_measured(trained):
    store, report = trained
    found = check_playable(store, CONFIG)
    assert (found.actions, found.start_frames) == (8, 2)
    assert 1 <= found.distinct_frames <= 8
    hints = hints_of(store, CONFIG, newest_model(store, "world_model").model_id)
    assert sorted(hints.keys) == list(range(8))
    assert f"{report.metrics['delta_t_psnr_permuted']['value']:.1f} dB" in hints.note


def _served(store, visit):
    """Serve the play page as the command does, and let `visit(client)` visit it; return what the server said."""
    lines = []

    def run(app, listening):
        with TestClient(app, base_url=f"http://127.0.0.1:{listening.getsockname()[1]}") as client:
            visit(client)

    serve_play(Job(store, CONFIG, home_of(store), lines.append), Address(), run)
    return lines


@contextlib.contextmanager
def _page(client, **headers):
    address = str(client.base_url).replace("http", "ws", 1)
    with client.websocket_connect(f"{address}/api/play", headers=headers) as socket:
        yield Page(socket.send_text, socket.receive_bytes)


def test_the_page_is_served_behind_the_guard_with_the_newest_world(trained):
    def visit(client):
        about = client.get("/api/world").json()
        assert (len(about["actions"]), len(about["starts"]), about["width"]) == (8, 2, 160)
        assert [one["model"] for one in about["models"]] == [about["model"]]
        assert "script-src 'self'" in client.get("/").headers["content-security-policy"]
        assert client.get("/", headers={"host": "evil.example"}).status_code == 421
        with _page(client, origin=str(client.base_url)) as page:
            page.start()
        with pytest.raises(WebSocketDenialResponse) as refused, _page(client, origin="http://a.b"):
            pass
        assert refused.value.status_code == 403

    lines = _served(trained[0], visit)
    assert [line for line in lines if "Ctrl-C" in line] == [lines[-1]]


def test_a_game_is_played_beside_the_true_clip_and_its_link_gives_the_same_bytes_on_another_server(trained):
    store, _ = trained
    played = []

    def play(client):
        with _page(client) as page:
            page.start(start="held_out:1", seed=3)
            page.say("compare", **{"with": "true"})
            page.hear("frame")
            start = start_frames(store, CONFIG)[1]
            (clip,) = (one for one in held_out_clips(store, CONFIG, None) if one.clip_id == start.clip_id)
            for t in range(1, 6):
                page.act(t)
                assert np.array_equal(pixels_of(page.pictures[1]), clip.frames_THWC[start.index + t])
            page.say("compare", **{"with": "replay"})
            page.hear("frame")
            assert len(page.pictures) == 2
            page.say("pause")
            played.append((page.hear("link")["link"], page.pictures[0]))

    def replay(client):
        with _page(client) as page:
            link, shown = played[0]
            page.start(link=link)
            assert (page.header["t"], page.pictures) == (5, [shown])

    _served(store, play)
    _served(store, replay)


def test_a_start_frame_of_a_video_that_was_taken_down_is_not_offered(trained):
    store, _ = trained
    assert len(start_frames(store, CONFIG)) == 2

    def visit(client):
        with _page(client) as page:
            page.start()
            request_takedown(store, "video", "lampworksarcade-a2", "asked for")
            page.say("compare", **{"with": "true"})
            assert "its video was taken down" in page.hear("error")["error"]

    _served(store, visit)
    offered = start_frames(store, CONFIG)
    assert [start.clip_id.startswith("lampworksarcade-a3") for start in offered] == [True]
    assert [clip.video_id[-1] for clip in held_out_clips(store, CONFIG, None)] == ["3", "4"]
    assert not evaluation_is_current(store, CONFIG)


def test_without_shards_the_error_says_what_to_do(store):
    with pytest.raises(UserError, match="training_shards"):
        evaluate(job_of(store, CONFIG))
