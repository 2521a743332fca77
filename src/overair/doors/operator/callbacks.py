"""The log of deliveries for the operator: each attempt to deliver a message of an account, newest first."""

from typing import Annotated

from msgspec import Meta, Struct

from overair.callbacks.model import Logged
from overair.core import Core
from overair.doors.operator.errors import telling
from overair.doors.operator.token import operator_guard
from overair.doors.thingspace.errors import Refusal, invalid_parameter
from overair.doors.thingspace.http import NO_BODY, AnyRoute, Call, Parameter, Route
from overair.records.times import format_t2

PATH = "/v1/callbacks"


class DeliveryRecord(Struct, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """One attempt to deliver a message."""

    time: str
    id: Annotated[str, Meta(description="Of the message, as its receiver knows it")]
    version: str
    type: str
    subject: Annotated[str, Meta(description="Id of a campaign, or IMEI of a device")]
    state: Annotated[str, Meta(description="Of the message: `waiting`, `delivered`, `expired` or `dropped`")]
    attempt: int
    duration_ms: int
    status: Annotated[int | None, Meta(description="Of the answer")] = None
    error: Annotated[str | None, Meta(description="What kept an answer from coming")] = None


class DeliveryLog(Struct, gc=False, rename="camel", kw_only=True):
    """The newest attempts of an account (GET /operator/v1/callbacks)."""

    deliveries: list[DeliveryRecord]


def _read_account(text: str) -> str:
    if not text:
        raise Refusal(invalid_parameter("account: must be the name of an account"))
    return text


ACCOUNT_NAME = Parameter("account", "query", _read_account, "Name of the account")


class OperatorCallbacks:
    """The handler."""

    def __init__(self, core: Core, token: str) -> None:
        self._core = core
        self._guard = operator_guard(token)

    async def log(self, call: Call, _: None, __: None) -> DeliveryLog:
        """List the newest attempts to deliver messages of an account."""
        with telling():
            account = await self._core.accounts.account(call.value(ACCOUNT_NAME))
        found = await self._core.callbacks.log(account.id, self._core.limits.callback_log_items)
        return DeliveryLog(deliveries=[delivery_record(each) for each in found])

    def routes(self) -> tuple[AnyRoute, ...]:
        """Return the table."""
        return (
            Route(method="GET", path=PATH, summary="List attempts to deliver messages", guard=self._guard,
                  body=NO_BODY, handler=self.log, answer=DeliveryLog, parameters=(ACCOUNT_NAME,)),
        )  # fmt: skip


def delivery_record(logged: Logged) -> DeliveryRecord:
    """Return the record of an attempt."""
    attempt = logged.attempt
    return DeliveryRecord(
        time=format_t2(attempt.started_ms),
        id=logged.uid,
        version=logged.version,
        type=logged.type,
        subject=logged.subject,
        state=logged.state,
        attempt=attempt.number,
        duration_ms=attempt.duration_ms,
        status=attempt.answer.status,
        error=attempt.answer.error,
    )
