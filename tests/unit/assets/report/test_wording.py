"""Numbers on pages keep the digits that say something."""

import pytest

from assets.report.wording import figure, interval, metric_unit, number


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((3.9, 3.3, 4.5), "3.900 [3.30, 4.50]"),
        ((24.0,), "24.000"),
        ((8,), "8"),
        ((0.00632, 0.00535, 0.00743), "0.00632 [0.00535, 0.00743]"),
        ((3.23e-05, 2.85e-05, 3.9e-05), "3.23e-05 [2.85e-05, 3.90e-05]"),
        ((1e-17, -3e-17, 2e-17), "0.000 [0.00, 0.00]"),
        ((0.0,), "0.000"),
        ((0.001, -0.2, 0.3), "0.001 [-0.20, 0.30]"),
        ((1234.5,), "1,234.500"),
    ],
)
def test_a_figure_has_the_digits_of_its_size(values: tuple[float, ...], text: str) -> None:
    assert figure(*values) == text


def test_what_rounds_to_nothing_has_no_sign() -> None:
    assert number(-0.001) == "0.00"
    assert interval(-0.004, 0.004) == "[0.00, 0.00]"
    assert interval(-0.006, 0.0) == "[-0.01, 0.00]"
    assert number(float("nan")) == "nan"


def test_a_ratio_of_information_has_no_nats() -> None:
    names = (
        "latent_action_jump_information",
        "latent_action_jump_information_ratio",
        "latent_action_jump_information_p",
    )
    assert [metric_unit(name) for name in names] == ["nat", "times", ""]
