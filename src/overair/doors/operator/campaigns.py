"""The operator's calls on campaigns of all accounts: look, and abort one that runs (quirks.md Q17)."""

from overair.campaigns.model import Campaign, UnknownCampaign
from overair.core import Core
from overair.doors.operator.campaign_records import CampaignRecord, CampaignRecords, campaign_record
from overair.doors.operator.errors import problem_of, telling
from overair.doors.operator.packages import ACCOUNT_NAME
from overair.doors.operator.token import operator_guard
from overair.doors.thingspace.errors import Refusal
from overair.doors.thingspace.http import NO_BODY, AnyRoute, Call, Parameter, Route
from overair.doors.thingspace.parameters import UUID_PATTERN

PATH = "/v1/campaigns"
ONE = f"{PATH}/{{campaignId}}"


def _read_id(text: str) -> str:
    if not UUID_PATTERN.fullmatch(text.lower()):
        raise Refusal(problem_of(UnknownCampaign(f"campaign {text}: there is none of that id")))
    return text.lower()


CAMPAIGN_ID = Parameter("campaignId", "path", _read_id, "Id of the campaign")


class OperatorCampaigns:
    """The handlers."""

    def __init__(self, core: Core, token: str) -> None:
        self._core = core
        self._guard = operator_guard(token)

    async def list(self, call: Call, _: None, __: None) -> CampaignRecords:
        """List campaigns, newest first."""
        name = call.value(ACCOUNT_NAME)
        with telling():
            account_id = (await self._core.accounts.account(name)).id if name else None
        found = await self._core.overview.newest(account_id)
        names = await account_names(self._core)
        return CampaignRecords(campaigns=[campaign_record(each, names[each.account_id]) for each in found])

    async def show(self, call: Call, _: None, __: None) -> CampaignRecord:
        """Show one campaign, and how far it is."""
        with telling():
            return await self._record(await self._core.overview.find(call.value(CAMPAIGN_ID)))

    async def abort(self, call: Call, _: None, __: None) -> CampaignRecord:
        """Abort a campaign that runs."""
        with telling():
            campaign = await self._core.overview.find(call.value(CAMPAIGN_ID))
            await self._core.campaigns.abort(campaign.account_id, campaign.uuid)
            return await self._record(await self._core.overview.find(campaign.uuid))

    async def _record(self, campaign: Campaign) -> CampaignRecord:
        names = await account_names(self._core)
        progress = await self._core.overview.progress(campaign)
        return campaign_record(campaign, names[campaign.account_id], progress)

    def routes(self) -> tuple[AnyRoute, ...]:
        """Return the table."""
        guard = self._guard
        return (
            Route(method="GET", path=PATH, summary="List campaigns", guard=guard, body=NO_BODY,
                  handler=self.list, answer=CampaignRecords, parameters=(ACCOUNT_NAME,)),
            Route(method="GET", path=ONE, summary="Show a campaign", guard=guard, body=NO_BODY,
                  handler=self.show, answer=CampaignRecord, parameters=(CAMPAIGN_ID,)),
            Route(method="POST", path=f"{ONE}/abort", summary="Abort a campaign that runs", guard=guard,
                  body=NO_BODY, handler=self.abort, answer=CampaignRecord, parameters=(CAMPAIGN_ID,)),
        )  # fmt: skip


async def account_names(core: Core) -> dict[int, str]:
    """Return the names of all accounts by their numbers."""
    return {account.id: account.name for account in await core.accounts.list_accounts()}
