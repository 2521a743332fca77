"""Statements on the tables of the door; all inside the caller's transaction."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, literal_column, select, update

from overair.doors.ddi.model import AutoConfirmed, Kind, Settings, Standing, Stored
from overair.doors.ddi.tables import ddi_accounts, ddi_actions, ddi_images, ddi_statuses, ddi_targets
from overair.platform.database import Query, upsert
from overair.protocols.ddi.action import Action
from overair.protocols.ddi.feedback import Outcome
from overair.protocols.ddi.polling import Polling

_PURGE_ROWS = 1000


class _Document(msgspec.Struct, frozen=True):
    action: Action
    kind: Kind


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Document).decode
_to_json = msgspec.json.Encoder().encode
_attributes = msgspec.json.Decoder(dict[str, str]).decode
_auto_confirmed = msgspec.json.Decoder(AutoConfirmed).decode
_messages = msgspec.json.Decoder(list[str]).decode

_NAMES = ("id", "imei", "account_id", "campaign_id", "attempt", "package_id", "document")
_ACTIONS = select(*[ddi_actions.c[name] for name in _NAMES])
_ACTION = Query(_ACTIONS.where(ddi_actions.c.id == bindparam("id")))
_STANDING = Query(
    select(
        ddi_targets.c.attributes,
        ddi_targets.c.reported_ms,
        ddi_targets.c.wanted,
        ddi_targets.c.installed_id,
        ddi_targets.c.expected,
        ddi_targets.c.auto_confirm,
    ).where(ddi_targets.c.imei == bindparam("imei"))
)
_PUT_TARGET = Query(upsert(ddi_targets))
_SETTINGS = Query(
    select(
        ddi_accounts.c.polling_seconds,
        ddi_accounts.c.jitter_percent,
        ddi_accounts.c.confirmation,
        ddi_accounts.c.issuers,
    ).where(ddi_accounts.c.account_id == bindparam("account"))
)
_PUT_SETTINGS = Query(upsert(ddi_accounts))
_PUT_ACTION = Query(
    update(ddi_actions)
    .where(ddi_actions.c.id == bindparam("key"))
    .ordered_values(
        (ddi_actions.c.closed_ms, bindparam("new_closed")),
        (ddi_actions.c.document, bindparam("new_document")),
    )
)
_ADD_STATUS = Query(insert(ddi_statuses))
_HISTORY = Query(
    select(ddi_statuses.c.messages)
    .where(ddi_statuses.c.action_id == bindparam("action"))
    .order_by(ddi_statuses.c.number.desc())
    .limit(bindparam("count"))
    .offset(literal_column("0"))
)


# Accounts and targets.


def settings_of(connection: Connection, account_id: int) -> Settings:
    """Return how an account wants its devices treated."""
    rows = _SETTINGS.rows(connection, (account_id,))
    if not rows:
        return Settings()
    seconds, jitter, confirmation, issuers = rows[0]
    return Settings(
        polling=Polling(seconds, jitter), confirmation=bool(confirmation), issuers=tuple(issuers.split())
    )


def put_settings(connection: Connection, account_id: int, settings: Settings) -> None:
    """Store how an account wants its devices treated."""
    polling = settings.polling
    row = (
        account_id,
        polling.seconds,
        polling.jitter_percent,
        settings.confirmation,
        "\n".join(settings.issuers),
    )
    _PUT_SETTINGS.many(connection, [row])


def standing_of(connection: Connection, imei: int) -> Standing:
    """Return what is known of a target; of one that never came, that its attributes are wanted."""
    rows = _STANDING.rows(connection, (imei,))
    if not rows:
        return Standing()
    attributes, reported_ms, wanted, installed_id, expected, auto_confirm = rows[0]
    return Standing(
        attributes=_attributes(attributes) if attributes else {},
        reported_ms=reported_ms,
        wanted=bool(wanted),
        installed_id=installed_id,
        expected=expected,
        auto_confirm=_auto_confirmed(auto_confirm) if auto_confirm else None,
    )


def put_standing(connection: Connection, imei: int, account_id: int, standing: Standing) -> None:
    """Store what is known of a target."""
    confirmed = standing.auto_confirm
    row = (
        imei,
        account_id,
        _to_json(standing.attributes),
        standing.reported_ms,
        standing.wanted,
        standing.installed_id,
        standing.expected,
        None if confirmed is None else _to_json(confirmed),
    )
    _PUT_TARGET.many(connection, [row])


def set_auto_confirm(
    connection: Connection, imei: int, account_id: int, confirmed: AutoConfirmed | None
) -> Standing:
    """Note whether a device needs not agree any more; returns what is known of it then."""
    after = msgspec.structs.replace(standing_of(connection, imei), auto_confirm=confirmed)
    put_standing(connection, imei, account_id, after)
    return after


# Actions.


def action(connection: Connection, number: int) -> Stored | None:
    """Return an action, closed or not."""
    rows = _ACTION.rows(connection, (number,))
    return _stored(rows[0]) if rows else None


def action_of(connection: Connection, campaign_id: int, imei: int, attempt: int) -> Stored | None:
    """Return the action of an attempt."""
    query = _ACTIONS.where(
        ddi_actions.c.campaign_id == campaign_id,
        ddi_actions.c.imei == imei,
        ddi_actions.c.attempt == attempt,
    )
    row = connection.execute(query).first()
    return _stored(row) if row else None


def open_actions(connection: Connection) -> list[Stored]:
    """Return the actions that are not closed."""
    return [_stored(row) for row in connection.execute(_ACTIONS.where(ddi_actions.c.closed_ms.is_(None)))]


def add_action(connection: Connection, new: Stored) -> Stored:
    """Store an action; returns it with its number."""
    values = {name: getattr(new, name) for name in _NAMES if name not in ("id", "document")}
    made = connection.execute(insert(ddi_actions).values(values | {"document": _document(new)}))
    key = made.inserted_primary_key
    if key is None:
        raise LookupError("the database gave an action no number")
    return msgspec.structs.replace(new, action=msgspec.structs.replace(new.action, id=int(key[0])))


def put_action(connection: Connection, stored: Stored) -> None:
    """Store an action as it stands."""
    now = stored.action
    _PUT_ACTION.many(connection, [(now.closed_ms, _document(stored), now.id)])


def note(connection: Connection, stored: Stored, outcome: Outcome) -> None:
    """Store an action as it stands after something was said of it, and what was said."""
    put_action(connection, stored)
    row = (
        stored.action.id,
        stored.action.statuses,
        outcome.at_ms,
        outcome.status,
        _to_json(outcome.messages),
    )
    _ADD_STATUS.many(connection, [row])


def history(connection: Connection, number: int, count: int) -> list[str]:
    """Return the newest *count* messages of an action, the newest first."""
    rows = _HISTORY.rows(connection, (number, count))
    return [text for (messages,) in rows for text in reversed(_messages(messages))][:count]


def purge(connection: Connection, before_ms: int) -> int:
    """Delete some of the actions that were closed before a time, with their history; return how many."""
    old = select(ddi_actions.c.id).where(ddi_actions.c.closed_ms < before_ms).limit(_PURGE_ROWS)
    kept = select(ddi_targets.c.installed_id).where(ddi_targets.c.installed_id.is_not(None))
    numbers = [row[0] for row in connection.execute(old.where(ddi_actions.c.id.not_in(kept)))]
    connection.execute(delete(ddi_statuses).where(ddi_statuses.c.action_id.in_(numbers)))
    connection.execute(delete(ddi_actions).where(ddi_actions.c.id.in_(numbers)))
    return len(numbers)


# Images.


def image_of(connection: Connection, package_id: str) -> tuple[str, bytes, bytes] | None:
    """Return file name, SHA-1 and MD5 of a package's image, if they were worked out before."""
    query = select(ddi_images.c.filename, ddi_images.c.sha1, ddi_images.c.md5)
    row = connection.execute(query.where(ddi_images.c.package_id == package_id)).first()
    return (row[0], row[1], row[2]) if row else None


def put_image(connection: Connection, package_id: str, filename: str, sha1: bytes, md5: bytes) -> None:
    """Store what was worked out of an image, unless it is there."""
    if image_of(connection, package_id) is None:
        values = {"package_id": package_id, "filename": filename, "sha1": sha1, "md5": md5}
        connection.execute(insert(ddi_images).values(values))


def _document(stored: Stored) -> bytes:
    return _encode(_Document(stored.action, stored.kind))


def _stored(row: Sequence[Any]) -> Stored:
    number, imei, account_id, campaign_id, attempt, package_id, document = row
    known = _decode(document)
    return Stored(
        action=msgspec.structs.replace(known.action, id=number),
        imei=imei,
        account_id=account_id,
        campaign_id=campaign_id,
        attempt=attempt,
        package_id=package_id,
        kind=known.kind,
    )
