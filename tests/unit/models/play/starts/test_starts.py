"""A player's picture becomes a start, and the player is told how well the tokenizer knows it."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from models.evaluation.held_out import HeldOutClip
from models.evaluation.round_trips import RoundTrips, measure_round_trips, round_trips
from models.play.page import play_app
from models.play.starts.held_out import StartFrame
from models.play.starts.known import known_of
from models.play.starts.palette import frequent_colours, palette_of
from models.play.starts.pictures import MAX_PICTURES
from models.play.starts.routes import MAX_A_MINUTE, UPLOADS, start_routes
from models.play.starts.starts import Starts
from pipeline.config import PlayConfig
from pipeline.http_guard import Guard
from tests.engines import use_inline_engine
from tests.play_socket import Page

CONFIG = PlayConfig(maskgit_steps=2, token_temperature=0)
TOKEN = "0123456789abcdef"
OCTETS = {"content-type": "application/octet-stream"}


@pytest.fixture
def starts(ring_world):
    return [StartFrame(ring_world.pictures[offset].numpy(), f"clip-{offset}") for offset in (10, 70)]


@pytest.fixture
def guarded(ring_world, starts, monkeypatch):
    use_inline_engine(monkeypatch)
    app = play_app(ring_world, starts, CONFIG)
    return Guard(app, token=TOKEN, max_body=4096, uploads=UPLOADS)


@pytest.fixture
def client(guarded):
    with TestClient(guarded, base_url="http://127.0.0.1:8000", headers={"authorization": f"Bearer {TOKEN}"}) as client:
        yield client


def _png(frame):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(frame)).save(buffer, "PNG")
    return buffer.getvalue()


def _send(client, data, fit="crop", **headers):
    return client.post(f"/api/pictures?fit={fit}", content=data, headers={**OCTETS, **headers})


def _pixels(answer):
    with Image.open(io.BytesIO(answer.content)) as picture:
        return np.asarray(picture)


def test_a_game_starts_from_an_uploaded_picture_and_shows_its_reconstruction(client, ring_world):
    picture = ring_world.pictures[20].numpy() ^ 1  # not quite a picture that the tokenizer draws
    sent = _send(client, _png(picture))
    assert sent.status_code == 200, sent.text
    answer = sent.json()
    assert np.array_equal(_pixels(client.get(answer["url"])), picture)
    assert np.array_equal(_pixels(client.get(answer["reconstruction"])), ring_world.pictures[20])
    assert answer["known"]["psnr"] > 40
    with client.websocket_connect("ws://127.0.0.1:8000/api/play") as socket:
        page = Page(socket.send_text, socket.receive_bytes)
        page.say("start", start=answer["name"])
        page.hear("frame")
        assert np.array_equal(page.pixels, ring_world.pictures[20])
    assert _send(client, _png(picture)).json()["name"] == answer["name"], "a link that starts from it works again"
    assert answer["name"] not in str(client.get("/api/world").json()), "a picture is its sender's own"


def test_an_upload_of_another_size_is_fitted_as_asked(client, ring_world):
    tall = np.zeros((90, 30, 3), np.uint8)
    tall[35:55] = ring_world.pictures[5]
    cropped, padded = (_send(client, _png(tall), fit).json() for fit in ("crop", "pad"))
    assert np.array_equal(_pixels(client.get(cropped["url"])), ring_world.pictures[5])
    bar = _pixels(client.get(padded["url"]))[:, :11]
    assert (bar == bar[0, 0]).all()
    assert bar[0, 0].any(), "a bar has the colour of the edge that it touches, and is not black"
    refused = _send(client, _png(tall), "stretch")
    assert (refused.status_code, refused.json()["error"]) == (400, "fit = 'stretch': must be one of crop, pad")


@pytest.mark.parametrize(
    ("data", "status", "says"),
    [(b"", 422, "empty"), (b"<svg/>", 422, "SVG"), (bytes((16 << 20) + 1), 413, "16.0 MB, the limit is 16 MB")],
)
def test_a_bad_upload_is_answered_with_a_sentence_in_json(client, data, status, says):
    answer = _send(client, data)
    assert answer.status_code == status
    assert says in answer.json()["error"]


def test_an_upload_stands_behind_the_guard(client, guarded):
    data = _png(np.zeros((20, 30, 3), np.uint8))
    assert _send(client, data, authorization="").status_code == 401
    assert _send(client, data, origin="http://evil.example").status_code == 403
    assert _send(client, data, host="evil.example").status_code == 421
    for kind in ("", "text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        refused = _send(client, data, **{"content-type": kind})
        assert (refused.status_code, list(refused.json())) == (415, ["error"]), kind
    for kind in ("image/png", "image/x-unknown", "text/html"):
        assert _send(client, data, **{"content-type": kind}).status_code == 200, "what is declared does not count"
    assert client.post("/api/other", content=data, headers=OCTETS).status_code == 415, "other addresses take JSON alone"


def test_uploads_are_limited_by_the_minute(ring_world, starts):
    now, read = [0.0], []

    async def compute(who, function, *arguments):
        return function(*arguments)

    def take(upload):
        read.append(upload)
        return ring_world.pictures[0].numpy()

    app = Starlette(routes=start_routes(Starts(ring_world, starts), compute, clock=lambda: now[0], read=take))
    with TestClient(app) as client:
        assert {_send(client, b"x").status_code for _ in range(MAX_A_MINUTE)} == {200}
        late = _send(client, b"x")
        assert (late.status_code, late.headers["retry-after"]) == (429, "60")
        assert "try again in 60 seconds" in late.json()["error"]
        now[0] = 60.0
        assert _send(client, b"x").status_code == 200
    assert len(read) == MAX_A_MINUTE + 1


def test_the_newest_pictures_are_kept_and_older_ones_are_gone(ring_world, starts):
    kept = Starts(ring_world, starts)
    names = [kept.add(np.full((20, 30, 3), shade, np.uint8), "crop") for shade in range(MAX_PICTURES + 1)]
    for gone in (kept.frame, kept.tokens, kept.known, kept.digest):
        with pytest.raises(KeyError):
            gone(names[0])
        gone(names[1])
    kept.add(np.full((20, 30, 3), 99, np.uint8), "crop")
    kept.frame(names[1])  # it was used after names[2]
    with pytest.raises(KeyError):
        kept.frame(names[2])


def test_a_picture_like_held_out_frames_is_known_and_noise_is_not(ring_world, starts):
    known = Starts(ring_world, starts)
    name = known.add(ring_world.pictures[33].numpy(), "crop")
    assert known.known(name).sentence.startswith("The tokenizer knows this picture well: 60 dB")
    noise = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    strange = known.known(known.add(noise, "crop"))
    assert strange.far_share == 1
    assert strange.sentence.startswith("The tokenizer does not know this picture:")
    assert "100 % of its patches are far from anything that it can draw" in strange.sentence


def test_how_well_a_picture_is_known_is_told_beside_held_out_frames():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 200, (50, 20, 30, 3), dtype=np.uint8)
    noise = np.arange(1, 51).repeat(20 * 30 * 3).reshape(truth.shape).astype(np.uint8)
    usual = round_trips(truth, truth + noise)
    assert RoundTrips.from_json(json.loads(json.dumps(usual.as_json()))) == usual
    assert known_of(truth[0], truth[0] + np.uint8(25), usual).percentile == pytest.approx(50, abs=3)
    half = truth[0].copy()
    half[:10, :10] += np.uint8(55)
    assert known_of(truth[0], half, usual).far_share == pytest.approx(1 / 6)
    assert "in part" in known_of(truth[0], half, usual).sentence


def test_an_evaluation_measures_round_trips_of_single_frames_of_all_clips(ring_world):
    clips = [HeldOutClip(f"v{n}-0", f"v{n}", 0, ring_world.pictures[9 * n : 9 * n + 9].numpy(), None) for n in range(3)]
    found = measure_round_trips(ring_world, clips)
    assert found.num_frames == 96
    assert (found.psnr_quantiles[0], found.far_error) == (60.0, 0.0)


def test_the_palette_holds_small_things_and_the_colours_of_areas_come_first(ring_world):
    frame = np.full((1, 60, 80, 3), (90, 160, 240), np.uint8)
    frame[:, 40:] = (60, 120, 40)
    frame[:, 20:22, 30:34] = (220, 30, 30)
    noisy = (frame + np.random.default_rng(0).integers(-6, 7, frame.shape)).astype(np.uint8)
    found = np.array(frequent_colours(noisy))
    assert np.abs(found - [(90, 160, 240), (60, 120, 40), (220, 30, 30)]).max() <= 6, "noise of the codec is no colour"

    def draws_no_red(frames_NHWC):
        shown = frames_NHWC.copy()
        if len(frames_NHWC) > 1:
            shown[(frames_NHWC[..., 0] > 200)] = (60, 120, 40)
        return shown

    found = palette_of(frame, draws_no_red)
    assert found[:2] == [(90, 160, 240), (60, 120, 40)]
    assert found[-1] == (220, 30, 30)
    noise = np.random.default_rng(0).integers(0, 255, (1, 60, 80, 3), dtype=np.uint8)
    assert 1 <= len(frequent_colours(noise)) <= 16


def test_the_palette_is_asked_for_as_colours_of_the_web(client):
    found = client.get("/api/palette").json()
    assert 1 <= len(found) <= 16
    assert all(len(colour) == 7 and int(colour[1:], 16) >= 0 for colour in found)
