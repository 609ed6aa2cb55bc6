import pytest
import torch

from models.networks.patches import as_float, from_patches, grid_of, to_patches


@pytest.mark.parametrize(("height", "width", "patch"), [(90, 160, 10), (90, 160, 4), (13, 7, 5), (4, 4, 8)])
def test_patches_give_the_frames_back_at_any_size(height, width, patch):
    video = torch.rand(2, 3, height, width, 3)
    patches = to_patches(video, patch)
    rows, columns = grid_of(height, width, patch)
    assert patches.shape == (2, 3, rows * columns, patch * patch * 3)
    assert torch.equal(from_patches(patches, patch, height, width), video)


def test_the_papers_frame_has_920_tokens():
    rows, columns = grid_of(90, 160, 4)
    assert rows * columns == 920


def test_padding_repeats_the_last_row_and_column():
    video = torch.arange(6.0).reshape(1, 1, 2, 3, 1).expand(1, 1, 2, 3, 3)
    padded = from_patches(to_patches(video, 4), 4, 4, 4)[0, 0, :, :, 0]
    assert padded.tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]


def test_bytes_become_floats_up_to_one():
    assert as_float(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [0.0, 1.0]
