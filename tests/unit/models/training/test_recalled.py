"""Past frames as the dynamics predicted them before."""

import pytest
import torch

from models.runtime.ranks import ALONE
from models.training.recalled import NOT_RECALLED, RecalledFrames
from pipeline.shards.loader.loader import Place
from tests.numerics.small import arcade_windows, make_world_training

T, P = 2, 3
ALL = torch.tensor([True])
LAST_MASKED = torch.tensor([[[False] * P, [True] * P]])
NOTHING = torch.full((P,), NOT_RECALLED)


def place(start, clip="a"):
    return Place(clip, start)


def predicted(*values):
    return torch.tensor([[[9] * P, list(values)]])


def keep(frames, start, drawn, truth=None):
    frames.keep([place(start)], drawn if truth is None else truth, drawn, LAST_MASKED, ALONE, 1)


def kept_of(*starts, most=10):
    frames = RecalledFrames(most)
    for start in starts:
        keep(frames, start, predicted(start, 1, 2))
    return frames


def test_a_window_is_shown_what_was_predicted_of_its_past():
    shown = kept_of(4).shown([place(5)], ALL, LAST_MASKED)
    assert shown[0, 0].tolist() == [4, 1, 2]
    assert torch.equal(shown[0, 1], NOTHING), "what is predicted now is not given away"


@pytest.mark.parametrize(
    ("where", "chosen"),
    [(place(5, "b"), True), (place(4), True), (place(5), False)],
    ids=["another clip", "a frame that was not predicted", "a window that is not chosen"],
)
def test_other_windows_are_shown_the_truth(where, chosen):
    shown = kept_of(4).shown([where], torch.tensor([chosen]), LAST_MASKED)
    assert (shown == NOT_RECALLED).all()


def test_of_more_frames_than_are_kept_the_first_stay_and_are_renewed():
    frames = kept_of(0, 1, 2, most=2)
    assert len(frames) == 2
    keep(frames, 0, predicted(7, 7, 7))
    assert frames.shown([place(1)], ALL, LAST_MASKED)[0, 0].tolist() == [7, 7, 7]
    assert (frames.shown([place(3)], ALL, LAST_MASKED) == NOT_RECALLED).all()


def test_what_is_mostly_wrong_is_not_kept():
    frames = RecalledFrames(10)
    keep(frames, 0, predicted(1, 2, 3), truth=predicted(1, 2, 4))
    assert len(frames) == 0


def test_a_training_shows_its_own_predictions_and_asks_for_the_truth(monkeypatch):
    training = make_world_training(
        arcade_windows(), recalled_share=1.0, clean_prefix_share=1.0, cache_tokens=40, batch=8
    )
    monkeypatch.setattr("models.training.recalled._MOST_WRONG", 1.0)  # an untrained dynamics predicts other tokens
    shown, loss = [], training.dynamics.loss_and_guess
    monkeypatch.setattr(
        training.dynamics, "loss_and_guess", lambda *args, guess: shown.append(args) or loss(*args, guess=guess)
    )
    for step in range(6):
        training.step(step)
    tokens, _, mask, seen, _ = (torch.cat(each) if each[0] is not None else None for each in zip(*shown, strict=True))
    past = ~mask.any(2)
    assert not torch.equal(seen[past], tokens[past])
    assert torch.equal(seen[~past], tokens[~past])
