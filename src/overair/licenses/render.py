"""Licences as owners see them (spec api-v3.md, section 7)."""

from overair.accounts.model import Account, Subscription
from overair.devices.model import imei_text
from overair.licenses.model import Assigned, AssignOutcome, Counters, LicensePage, Removed, RemoveOutcome
from overair.licenses.rules import bought
from overair.records import (
    FotaV3Subscription,
    V3LicenseAssignedRemovedResult,
    V3LicenseDevice,
    V3LicenseStatus,
    V3LicenseSummary,
)
from overair.records.times import format_t1, format_t2

_ASSIGNED, _NOT_ASSIGNED = "LicenseAssignSuccess", "LicenseAssignFailed"
_REMOVED, _NOT_REMOVED = "LicenseRemoveSuccess", "LicenseRemoveFailed"

# Status and reason (section 7.2).
TEXTS: dict[AssignOutcome | RemoveOutcome, tuple[str, str]] = {
    AssignOutcome.ASSIGNED: (_ASSIGNED, "Success"),
    AssignOutcome.PREEXISTING: (_ASSIGNED, "Device license preexisting"),
    AssignOutcome.NOT_FOUND: (_NOT_ASSIGNED, "Device not found."),
    AssignOutcome.NOT_ELIGIBLE: (_NOT_ASSIGNED, "Device not eligible for service."),
    AssignOutcome.POOL_EMPTY: (_NOT_ASSIGNED, "Not enough licenses."),
    RemoveOutcome.REMOVED: (_REMOVED, "Success"),
    RemoveOutcome.NONE_HELD: (_NOT_REMOVED, "No license attached to device"),
    RemoveOutcome.UPGRADED: (
        _NOT_REMOVED,
        "License removal not allowed for devices that have ever upgraded firmware.",
    ),
    RemoveOutcome.FAILED: (_NOT_REMOVED, "Internal error."),
}

PURCHASE_TYPES = {Subscription.EVENT: "TS-HFOTA-EVNT", Subscription.MRC: "TS-HFOTA-MRC"}


def summary(page: LicensePage, after: str, page_size: int) -> V3LicenseSummary:
    """Return a page of licences; *after* is the cursor that it was asked for with."""
    account = page.counters.account
    return V3LicenseSummary(
        account_name=account.name,
        total_licenses=bought(account),
        assigned_licenses=page.counters.assigned,
        has_more_data=page.more,
        last_seen_device_id=imei_text(page.rows[-1][0]) if page.rows else after,
        max_page_size=page_size,
        device_list=[device(imei, assigned_ms) for imei, assigned_ms in page.rows],
    )


def device(imei: int, assigned_ms: int) -> V3LicenseDevice:
    """Return one licence."""
    return V3LicenseDevice(imei_text(imei), format_t1(assigned_ms))


def changed(done: Assigned | Removed) -> V3LicenseAssignedRemovedResult:
    """Return what was assigned or removed, a row a device."""
    account = done.counters.account
    return V3LicenseAssignedRemovedResult(
        account_name=account.name,
        lic_count=bought(account),
        lic_used_count=done.counters.assigned,
        device_list=[_row(imei, outcome) for imei, outcome in done.outcomes.items()],
    )


def subscription(counters: Counters) -> FotaV3Subscription:
    """Return what the account has bought."""
    account = counters.account
    return FotaV3Subscription(
        account_name=account.name,
        purchase_type=_purchase_type(account),
        license_count=bought(account),
        license_used_count=counters.assigned,
        update_time=format_t2(account.subscription_ms or account.created_ms),
    )


def _row(imei: int, outcome: AssignOutcome | RemoveOutcome) -> V3LicenseStatus:
    status, reason = TEXTS[outcome]
    return V3LicenseStatus(device_id=imei_text(imei), status=status, result_reason=reason)


def _purchase_type(account: Account) -> str:
    return ",".join(text for kind, text in PURCHASE_TYPES.items() if kind in account.subscriptions)
