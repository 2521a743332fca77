"""The tables of states against the diagrams of the specification, and every pair that is in neither."""

from itertools import product

import pytest

from overair.campaigns.model import CampaignStatus, RowStatus
from overair.campaigns.states import (
    CAMPAIGN,
    CAMPAIGN_OVER,
    OPEN_TO_MEMBERS,
    ROW,
    ROW_FINAL,
    ROW_IDLE,
    CampaignEvent,
    RowEvent,
    TransitionError,
    next_campaign_status,
    next_row_status,
)
from overair.campaigns.texts import V3_STATUS

R = RowStatus

# Spec lifecycle.md, section 1.1, arrow by arrow.
CAMPAIGN_ARROWS = """
CampaignRequestPending CampaignRequestQueued
CampaignRequestPending CampaignRequestFailed
CampaignRequestQueued CampaignPreScheduled
CampaignPreScheduled CampaignScheduled
CampaignRequestQueued CampaignFailed
CampaignPreScheduled CampaignFailed
CampaignScheduled CampaignEnded
CampaignRequestPending CampaignCancelled
CampaignRequestQueued CampaignCancelled
CampaignPreScheduled CampaignCancelled
CampaignRequestQueued CampaignEnded
CampaignPreScheduled CampaignEnded
CampaignScheduled CampaignAborted
"""
# One arrow there is none for here: Scheduled to Cancelled "before start instant". A campaign of this
# service is scheduled on its first day, never before.

# Section 3.3: what can follow what in the words of version 3.
ROW_ARROWS = """
NoDeviceDataFromNetwork ReceivedDeviceDataFromNetwork
ReceivedDeviceDataFromNetwork UpgradePending
ReceivedDeviceDataFromNetwork NoDeviceDataFromNetwork
UpgradePending UpgradeScheduled
UpgradePending RequestToFotaServerFailed
RequestToFotaServerFailed UpgradePending
UpgradeScheduled UpgradeSuccess
UpgradeScheduled UpgradePending
UpgradeScheduled UpgradeFailed
"""


def arrows(text: str) -> set[tuple[str, ...]]:
    return {tuple(line.split()) for line in text.split("\n") if line}


def test_campaigns_take_the_arrows_of_the_specification_and_no_other() -> None:
    taken = {(before.value, after.value) for (before, _), after in CAMPAIGN.items()}
    assert taken == arrows(CAMPAIGN_ARROWS)


def test_rows_can_take_every_arrow_of_the_specification() -> None:
    taken = {(V3_STATUS[before], V3_STATUS[after]) for (before, _), after in ROW.items()}
    assert arrows(ROW_ARROWS) <= taken


@pytest.mark.parametrize("status", CampaignStatus)
def test_every_event_of_a_campaign_is_in_the_table_or_impossible(status: CampaignStatus) -> None:
    for event in CampaignEvent:
        if (status, event) in CAMPAIGN:
            assert next_campaign_status(status, event) is CAMPAIGN[status, event]
        else:
            with pytest.raises(TransitionError, match=status):
                next_campaign_status(status, event)


@pytest.mark.parametrize("status", RowStatus)
def test_every_event_of_a_row_is_in_the_table_or_impossible(status: RowStatus) -> None:
    for event in RowEvent:
        if (status, event) in ROW:
            assert next_row_status(status, event) is ROW[status, event]
        else:
            with pytest.raises(TransitionError, match=status):
                next_row_status(status, event)


def test_what_is_over_stays_over() -> None:
    assert not [each for each in product(CAMPAIGN_OVER, CampaignEvent) if each in CAMPAIGN]
    assert not [each for each in product(ROW_FINAL, RowEvent) if each in ROW]
    assert {status for status in CampaignStatus if all(before is not status for before, _ in CAMPAIGN)} == (
        CAMPAIGN_OVER
    )
    assert {status for status in RowStatus if all(before is not status for before, _ in ROW)} == ROW_FINAL


def test_from_everywhere_there_is_a_way_to_an_end() -> None:
    for status in set(CampaignStatus) - CAMPAIGN_OVER:
        assert _reachable(status, CAMPAIGN) & CAMPAIGN_OVER
    for row_status in set(RowStatus) - ROW_FINAL:
        assert _reachable(row_status, ROW) & ROW_FINAL


def test_an_attempt_ends_a_row_only_once_and_idle_rows_have_none() -> None:
    assert {R.UNCHECKED, R.RUNNING} | ROW_IDLE | ROW_FINAL == set(R)
    assert not ROW_IDLE & ROW_FINAL
    begun_from = {before for (before, event), _ in ROW.items() if event is RowEvent.BEGIN}
    assert begun_from == ROW_IDLE
    assert {after for (_, event), after in ROW.items() if event is RowEvent.BEGIN} == {R.RUNNING}
    assert CampaignStatus.SCHEDULED not in OPEN_TO_MEMBERS
    assert not OPEN_TO_MEMBERS & CAMPAIGN_OVER


def _reachable(start: object, table: dict) -> set:
    found, todo = {start}, [start]
    while todo:
        here = todo.pop()
        ways = {after for (before, _), after in table.items() if before is here}
        todo += ways - found
        found |= ways
    return found
