"""A world's page opened from disk without network: keys make the frames that the server makes."""

import json

import numpy as np
import pytest
import torch

from models.export.contents import Contents, Start, about_of
from models.export.graphs import decoder_graph, dynamics_graph
from models.export.html import page_html
from models.networks.dynamics import Dynamics
from models.networks.latent_actions import LatentActionModel
from models.networks.tokenizer import VideoTokenizer
from models.play.key_hints import KeyHint, WorldHints
from models.runtime.compute import Compute
from models.world.world import WorldModel
from pipeline.config import PlayConfig
from pipeline.config.evaluation import SamplingConfig
from pipeline.config.world import DynamicsConfig, LatentActionConfig, StackConfig, TokenizerConfig
from tests.networks import randomize

pytestmark = [pytest.mark.slow, pytest.mark.browser]
STACK = StackConfig(
    layers=2, d_model=16, heads=2, head_dim=8, kv_heads=2, temporal_positions="lag_bias", depthwise_conv="causal"
)
TURNED = StackConfig(layers=1, d_model=16, heads=2, head_dim=8)
RING = {"maskgit_steps": 1, "token_temperature": 0.0, "past_window": "ring"}
DRAWN = {"maskgit_steps": 3, "token_temperature": 1.5, "past_window": "prefill", "unmask_order": "confidence"}
TOP = {"maskgit_steps": 2, "token_temperature": 1.0, "past_window": "ring", "unmask_order": "random", "top_k": 4}
SPREAD = {
    "maskgit_steps": 3, "token_temperature": 0.0, "past_window": "ring", "unmask_order": "halton",
    "unmask_schedule": "geometric",
}  # fmt: skip
SEED = 11
KEYS = [1, 1, 3, 2, 2, 2, 1, 3, 3, 1, 2, 3, 3, 3, 1, 1, 2, 2, 3, 1]


def random_world():
    """A world of random networks that look at everything they may: 9 x 14 pixels, 6 tokens, 3 actions, 20 codes."""
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(
        TokenizerConfig(patch=5, codebook_size=20, latent_dim=4, encoder=STACK, decoder=TURNED, window=3), 9, 14
    )
    frame = StackConfig(layers=1, d_model=16, heads=2, head_dim=8, temporal_attention=False)
    settings = LatentActionConfig(
        patch=5, num_actions=3, latent_dim=4, encoder=frame, decoder=frame, pooling="antisymmetric"
    )
    lam = LatentActionModel(settings, 9, 14, context=4)
    dynamics = Dynamics(DynamicsConfig(stack=STACK, context=4), num_codes=20, grid=tokenizer.grid, action_dim=4)
    for network in (tokenizer, lam, dynamics):
        randomize(network, std=0.5, also=("embed",))
    return WorldModel(tokenizer, lam, dynamics, compute=Compute(torch.device("cpu"), torch.float32, "test"))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Networks this small run many times slower on two busy cores than on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def world():
    return random_world()


@pytest.fixture(scope="module")
def page_text(world):
    starts = [Start("clip </script><script>alert(1)</script>", "CC-BY", [number, 7, 3, 12, 0, 19]) for number in (1, 5)]
    hints = WorldHints("", {1: KeyHint("right", "→", right=3.0)})
    about = about_of(world, PlayConfig(**RING, seed=SEED, fps=60.0), starts, hints)
    contents = Contents("<b>hostile</b>", "note", "trained", "licence", [("PSNR", "1 dB")], about)
    graphs = {"dynamics": dynamics_graph(world), "decoder": decoder_graph(world)}
    packed = {name: graph.SerializeToString() for name, graph in graphs.items()}
    return page_html(contents, packed, ("wasm",), "0")


@pytest.fixture
def opened(browser, page_text, tmp_path):
    """Open the page with some settings of sampling; errors and requests fail the test at its end."""
    context = browser.new_context()
    context.set_offline(True)
    page = context.new_page()
    page.set_default_timeout(60_000)
    wrong, asked = [], []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))

    def open_with(sampling, before=""):
        if before:
            page.add_init_script(before)
        begins = page_text.index('"sampling":')
        ends = page_text.index("}", begins) + 1
        whole = {name: getattr(SamplingConfig(**sampling), name) for name in SamplingConfig.__dataclass_fields__}
        file = tmp_path / "world.html"
        file.write_text(f'{page_text[:begins]}"sampling":{json.dumps(whole)}{page_text[ends:]}', "utf-8")
        page.goto(file.as_uri())
        page.wait_for_selector("body[data-ready]", state="attached")
        # while it is paused a key makes one frame, however long it is down
        page.keyboard.press("p")
        return page

    yield open_with
    context.close()
    assert wrong == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)


def press(page, key, t):
    page.keyboard.press(key)
    page.wait_for_selector(f'body[data-t="{t}"]', state="attached")
    return shown(page)


def shown(page, canvas="#picture"):
    pixels = page.locator(canvas).evaluate(
        "(c) => Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)"
    )
    return np.array(pixels, int).reshape(9, 14, 4)[..., :3]


def until_still(page, least):
    """Hold what is held until frame `least` is shown, release it, and return the last frame that was in the making."""
    before = -1
    while (t := int(page.evaluate("document.body.dataset.t"))) != before or t < least:
        if t >= least:
            page.keyboard.up("2")
            before = t
        page.wait_for_timeout(300)
    return t


def of_server(world, start, actions, sampling):
    """The frames of a game of the server, the start's first."""
    none = torch.zeros(1, 0, dtype=torch.int64)
    session = world.begin(torch.tensor([[start]]), none, sampling=SamplingConfig(**sampling))
    frames = [session.pixels()[0].numpy().astype(int)]
    for t, action in enumerate(actions):
        session.step(torch.tensor([action]), torch.Generator().manual_seed(SEED + t))
        frames.append(session.pixels()[0].numpy().astype(int))
    return frames


@pytest.mark.parametrize("sampling", [RING, DRAWN, TOP, SPREAD], ids=["greedy", "drawn", "top", "halton"])
def test_keys_make_the_frames_of_the_server(opened, world, sampling):
    page = opened(sampling)
    expected = of_server(world, [1, 7, 3, 12, 0, 19], [key - 1 for key in KEYS], sampling)
    assert np.abs(shown(page) - expected[0]).max() <= 1
    for t, key in enumerate(KEYS, 1):
        # a value half way between two may be rounded either way; another token differs by far more
        assert np.abs(press(page, str(key), t) - expected[t]).max() <= 1


@pytest.mark.parametrize("sampling", [RING, DRAWN], ids=["ring", "prefill"])
@pytest.mark.parametrize(
    ("broken", "threads"),
    [("", "2"), ("delete globalThis.Worker", "1"), ("URL.createObjectURL = () => 'blob:null/none'", "1")],
    ids=["worker", "no-workers", "a-worker-that-does-not-start"],
)
def test_a_key_that_is_held_makes_the_same_frames_with_and_without_a_worker(opened, world, sampling, broken, threads):
    page = opened(sampling, broken)
    assert page.evaluate("document.body.dataset.threads") == threads
    page.keyboard.press("p")
    page.select_option("#speed", "1000")
    page.locator("#speed").evaluate("element => element.blur()")
    page.keyboard.down("2")
    made = until_still(page, 12)
    expected = of_server(world, [1, 7, 3, 12, 0, 19], [1] * made, sampling)
    assert page.locator("#strip button").count() == made + 1
    for t in range(made + 1):
        assert np.abs(shown(page, f"#strip button[data-t='{t}'] canvas") - expected[t]).max() <= 1
    assert np.abs(shown(page) - expected[made]).max() <= 1


def test_frames_in_the_making_are_dropped_where_a_player_goes_back(opened, world):
    page = opened(DRAWN)
    for t in range(1, 4):
        press(page, "2", t)
    # all in one event of the browser: four presses that nothing has answered yet, and a frame of before
    page.evaluate(
        "(() => { for (let i = 0; i < 4; i++) document.querySelectorAll('.key')[0].dispatchEvent("
        "new KeyboardEvent('keydown', { key: 'Enter' }));"
        " document.querySelector('#strip button[data-t=\"1\"]').click(); })()"
    )
    expected = of_server(world, [1, 7, 3, 12, 0, 19], [1, 2, 0], DRAWN)
    assert np.abs(press(page, "3", 2) - expected[2]).max() <= 1
    assert np.abs(press(page, "1", 3) - expected[3]).max() <= 1
    assert page.locator("#strip button").count() == 4


def test_an_action_after_an_earlier_frame_goes_on_from_it(opened, world):
    page = opened(RING)
    for t, key in enumerate(KEYS, 1):
        press(page, str(key), t)
    page.locator('#strip button[data-t="13"]').click()
    page.wait_for_selector('body[data-t="13"]', state="attached")
    other = [key - 1 for key in KEYS[:13]] + [0, 1]
    expected = of_server(world, [1, 7, 3, 12, 0, 19], other, RING)
    assert np.abs(press(page, "1", 14) - expected[14]).max() <= 1
    assert np.abs(press(page, "ArrowRight", 15) - expected[15]).max() <= 1
    assert page.locator("#strip button").count() == 16


def test_another_start_begins_a_game_of_its_own(opened, world):
    page = opened(RING)
    press(page, "2", 1)
    page.locator(".starts button").nth(1).click()
    page.wait_for_selector('body[data-t="0"]', state="attached")
    expected = of_server(world, [5, 7, 3, 12, 0, 19], [2], RING)
    assert np.abs(shown(page) - expected[0]).max() <= 1
    assert np.abs(press(page, "3", 1) - expected[1]).max() <= 1
    # texts of strangers are texts
    assert page.locator("h1").inner_text() == "Lampworks <b>hostile</b>"
    assert "clip </script><script>alert(1)</script>" in page.locator(".starts button").first.get_attribute("title")
