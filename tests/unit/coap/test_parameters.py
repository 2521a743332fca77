"""Parameters and limits name the field that is out of range."""

from __future__ import annotations

import pytest

from overair.protocols.coap import CELLULAR, CoapLimits, ParameterError, Parameters


def test_the_profiles_of_the_specification() -> None:
    assert (Parameters().ack_timeout_seconds, Parameters().max_retransmit) == (2.0, 4)
    assert (Parameters().exchange_lifetime_seconds, Parameters().nstart) == (247.0, 1)
    assert CELLULAR.ack_timeout_seconds == 10.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ack_timeout_seconds", 0.0),
        ("ack_random_factor", 0.9),
        ("max_retransmit", -1),
        ("nstart", 0),
        ("exchange_lifetime_seconds", float("nan")),
        ("block_size", 500),
        ("block_size", 2048),
        ("accepted_block_size", 8),
    ],
)
def test_parameters_out_of_range(field: str, value: float) -> None:
    with pytest.raises(ParameterError, match=field):
        Parameters(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"), [("peers", 1), ("queue_per_peer", 0), ("body_budget_bytes", 1000), ("exchanges", -1)]
)
def test_limits_out_of_range(field: str, value: int) -> None:
    with pytest.raises(ParameterError, match=field):
        CoapLimits(**{field: value})
