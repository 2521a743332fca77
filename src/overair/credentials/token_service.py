"""What the command line and the door of HTTP devices do with tokens."""

import secrets
from functools import partial

from overair.credentials import token_sql
from overair.credentials.token_model import NewToken, TokenRow, UnknownToken
from overair.credentials.token_rules import NEW_TOKEN_BYTES, checked_controller, checked_token
from overair.platform.clock import Clock
from overair.platform.database import Database
from overair.platform.limits import Limits
from overair.platform.secrets import digest


class TokenService:
    """Tokens of devices and gateways. That a device is the account's own is for the caller to know."""

    def __init__(self, database: Database, clock: Clock, limits: Limits) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits

    async def add(self, account_id: int, imei: int | None, token: str | None = None) -> NewToken:
        """Add a token for a device, or with None for the account's gateway; a random one if none is given.

        The one before stays valid for some days. Raises InvalidToken, TooManyTokens or TokenTaken.
        """
        text = secrets.token_hex(NEW_TOKEN_BYTES) if token is None else checked_token(token)
        row = TokenRow(0, account_id, imei, digest(text), self._clock.now_ms(), None)
        await self._database.write(lambda connection: token_sql.add(connection, row, self._limits))
        return NewToken(account_id, imei, text)

    async def valid(self, account_id: int, imei: int | None) -> list[TokenRow]:
        """Return the valid tokens of a device, or of the account's gateway, newest first."""
        now_ms = self._clock.now_ms()
        query = partial(token_sql.valid, account_id=account_id, imei=imei, now_ms=now_ms)
        return list(await self._database.read(query))

    async def remove(self, account_id: int, imei: int | None, number: int) -> None:
        """Delete a token, at once; :class:`UnknownToken`."""
        query = partial(token_sql.remove, account_id=account_id, imei=imei, number=number)
        if not await self._database.write(query):
            raise UnknownToken(number)

    async def bind(self, account_id: int, controller_id: str, imei: int) -> None:
        """Note what a device calls itself; raises InvalidToken or ControllerTaken."""
        name = checked_controller(controller_id)
        await self._database.write(lambda connection: token_sql.bind(connection, account_id, name, imei))

    async def purge(self) -> int:
        """Delete the tokens that have expired; return how many. Call it now and then."""
        now_ms = self._clock.now_ms()
        return await self._database.write(lambda connection: token_sql.purge(connection, now_ms))
