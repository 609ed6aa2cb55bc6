"""Arrows, letters and the space bar play the latent action whose measured effect goes where they point."""

import pytest

from models.play.key_hints import WorldHints, control_note, key_hints


def hints(symbols, **changed):
    """Hints of one code per symbol, all 10 px a frame; `twin_of={2: 0}` makes code 2 a twin of code 0."""
    twins = changed.get("twin_of", {})
    actions = [
        {"code": code, "label": "", "symbol": symbol, "right": 10.0, "down": 0.0, "twin_of": twins.get(code)}
        | {"group": twins.get(code, code)}
        for code, symbol in enumerate(symbols)
    ]
    return WorldHints("", key_hints(actions))


def test_a_platformers_keys():
    world = hints("•←→↑↖↗")
    keys = world.chords
    assert (keys["ArrowLeft"], keys["KeyA"], keys["ArrowRight"], keys["KeyD"]) == (1, 1, 2, 2)
    assert keys["Space"] == keys["ArrowUp"] == keys["KeyW"] == 3
    assert keys["ArrowUp+ArrowRight"] == keys["KeyW+KeyD"] == keys["Space+ArrowRight"] == keys["Space+KeyD"] == 5
    assert keys["Space+KeyA"] == 4
    assert "ArrowDown" not in keys, "nothing goes down"
    assert keys["ArrowDown+ArrowLeft"] == 1, "its nearer part is to the left"
    assert world.keys[5].keys[:2] == ("ArrowUp+ArrowRight", "ArrowUp+KeyD")
    assert world.keys[0].keys == ()


@pytest.mark.parametrize(
    ("symbols", "chord", "code"),
    [
        ("←→↑", "ArrowUp+ArrowRight", 2),  # equally near: who runs and presses up wants to jump
        ("←→", "Space+KeyD", 1),
        ("↑•", "ArrowUp+ArrowLeft", 0),
        ("↗•", "Space", 0),
        ("↗•", "ArrowRight", 0),
        ("↗•", "ArrowLeft", None),
        ("↗•", "ArrowUp+ArrowLeft", None),
        ("•~", "ArrowUp", None),
    ],
)
def test_a_chord_without_a_code_of_its_own_plays_the_nearest_one(symbols, chord, code):
    assert hints(symbols).chords.get(chord) == code


def test_a_twin_has_its_number_key_alone():
    world = hints("→→←→", twin_of={0: 1, 3: 1})
    assert world.chords["ArrowRight"] == 1
    assert [world.keys[code].keys for code in (0, 3)] == [(), ()]
    assert world.groups == [[1, 0, 3], [2]]


def test_of_two_codes_that_go_the_same_way_the_stronger_one_has_the_keys():
    slow = {"code": 0, "label": "", "symbol": "→", "right": 0.0, "down": 0.0, "runs": 4.0}
    assert WorldHints("", key_hints([slow, slow | {"code": 1, "runs": 8.0}])).chords["ArrowRight"] == 1


def test_an_evaluation_of_an_earlier_version_gives_keys_without_groups():
    old = {"code": 2, "label": "view moves left", "symbol": "←", "right": -10.0, "down": 0.0}
    world = WorldHints("", key_hints([old]))
    assert world.keys[2].keys == ("ArrowLeft", "KeyA")
    assert (world.chords["KeyA"], world.groups) == (2, [])


@pytest.mark.parametrize(
    ("low", "sources", "passed", "words"),
    [
        (3.0, 8, True, "The keys control this world: delta-t PSNR, permuted actions, is 4.0 dB [3.0, 5.0] on 8 held-"),
        (0.2, 8, False, "The keys do not control this world well yet"),
        (None, 4, None, "Whether the keys control this world is unknown: delta-t PSNR, permuted actions, 4.0 dB on 4"),
        # of one source, as evaluations of earlier versions gave it
        (4.0, 1, True, "is unknown: delta-t PSNR, permuted actions, 4.0 dB on 1 held-out video: too few"),
    ],
)
def test_whether_keys_control_a_world_is_said_of_enough_videos_alone(low, sources, passed, words):
    high = None if low is None else 8.0 - low if sources == 1 else 5.0
    control = {"value": 4.0, "low": low, "high": high, "num_sources": sources}
    gates = {"delta_t_psnr_permuted": {"passed": passed}}
    assert words in control_note({"delta_t_psnr_permuted": control, "gates": gates})
