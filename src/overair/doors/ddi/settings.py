"""How accounts want their HTTP devices treated, as the command line changes it."""

import re
from functools import partial

from sqlalchemy import Connection

from overair.credentials import token_sql
from overair.credentials.token_model import InvalidToken
from overair.doors.ddi import store
from overair.doors.ddi.model import Settings
from overair.platform.database import Database
from overair.protocols.ddi.polling import Polling

ISSUERS = 32
_ISSUER = re.compile(r"[!-~]{1,120}")


async def changed(
    database: Database,
    account_id: int,
    *,
    seconds: int | None,
    jitter_percent: int | None,
    confirmation: bool | None,
    issuers: tuple[str, ...] | None,
) -> Settings:
    """Change what is not None, and return how it stands; :class:`InvalidToken` for issuers that can't be."""
    for issuer in issuers or ():
        if not _ISSUER.fullmatch(issuer) or len(issuers or ()) > ISSUERS:
            raise InvalidToken("issuer", f"at most {ISSUERS}, printable ASCII without spaces")

    def write(connection: Connection) -> Settings:
        known = store.settings_of(connection, account_id)
        polling = known.polling
        after = Settings(
            polling=Polling(
                polling.seconds if seconds is None else seconds,
                polling.jitter_percent if jitter_percent is None else jitter_percent,
            ),
            confirmation=known.confirmation if confirmation is None else confirmation,
            issuers=known.issuers if issuers is None else tuple(each.lower() for each in issuers),
        )
        if after != known:
            store.put_settings(connection, account_id, after)
            token_sql.note_change(connection)
        return after

    if (seconds, jitter_percent, confirmation, issuers) == (None, None, None, None):
        return await database.read(partial(store.settings_of, account_id=account_id))
    return await database.write(write)
