"""Who asks: a controller id and what it proves itself by make a target (spec ddi.md, sections 3 and 10.1).

What was proved once is remembered, so that a poll needs no read. What does not match what is remembered is
looked up anew: so a new token is good at once, and a wrong one learns nothing from how long it took. What is
taken away is noticed by looking, every few seconds, how often tokens were changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec
from sqlalchemy import Connection, select

from overair.accounts.sql import accounts
from overair.credentials import token_sql
from overair.credentials.token_model import TokenRow
from overair.credentials.token_rules import accepts
from overair.devices.tables import devices
from overair.doors.ddi import store
from overair.doors.ddi.model import Settings, Standing
from overair.platform.clock import Clock
from overair.platform.database import Database
from overair.platform.limits import Limits
from overair.platform.secrets import digest
from overair.protocols.lwm2m.names import parse_endpoint_name

ANY_TENANT = "default"
"""hawkBit's own name of a tenant, which clients have built in: the token says which account it is."""
TARGET_TOKEN, GATEWAY_TOKEN = "targettoken", "gatewaytoken"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a request shows of who sends it."""

    scheme: str = ""
    """Of the Authorization, in lower case; empty for none."""
    digest: bytes = field(default=b"", repr=False)
    certified: str | None = None
    """The name in the certificate that a trusted proxy saw."""
    issuers: tuple[str, ...] = ()


class Target:
    """A device that comes here. One object a device; what is stored of it is replaced as it changes."""

    __slots__ = (
        "account_id",
        "account_name",
        "campaigning",
        "controller_id",
        "gateway",
        "imei",
        "protocol",
        "settings",
        "standing",
        "tokens",
    )

    def __init__(self, imei: int, account_id: int, account_name: str, controller_id: str) -> None:
        self.imei = imei
        self.account_id = account_id
        self.account_name = account_name
        self.controller_id = controller_id
        self.tokens: Sequence[TokenRow] = ()
        self.gateway: Sequence[TokenRow] = ()
        self.settings = Settings()
        self.standing = Standing()
        self.protocol = ""
        self.campaigning = False

    def is_proved(self, proof: Proof, now_ms: int) -> bool:
        """Whether somebody who shows that may act for this device."""
        if proof.scheme == TARGET_TOKEN:
            return accepts(self.tokens, proof.digest, now_ms)
        if proof.scheme == GATEWAY_TOKEN:
            return accepts(self.gateway, proof.digest, now_ms)
        issuers = self.settings.issuers
        return proof.certified == self.controller_id and any(each in issuers for each in proof.issuers)


class Unclaimed(msgspec.Struct, frozen=True):
    """A controller that a gateway speaks for, and that is no device yet; its attributes may say which."""

    account_id: int
    controller_id: str


class Unproved(Exception):
    """Who asks has not proved to be anybody."""


class Targets:
    """The targets that were here lately."""

    def __init__(self, database: Database, clock: Clock, limits: Limits) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits
        self._named: dict[tuple[str, str], Target] = {}
        self._targets: dict[int, Target] = {}
        self._changes: int | None = None

    def __len__(self) -> int:
        return len(self._targets)

    def known(self, tenant: str, controller_id: str, proof: Proof) -> Target | None:
        """Return a target that is remembered and proved."""
        found = self._named.get((tenant.lower(), controller_id))
        return found if found is not None and found.is_proved(proof, self._clock.now_ms()) else None

    async def find(self, tenant: str, controller_id: str, proof: Proof) -> Target | Unclaimed:
        """Return who asks, from the database; :class:`Unproved`, whatever is not as it should be."""
        now_ms = self._clock.now_ms()
        query = partial(_load, controller_id=controller_id, now_ms=now_ms)
        folded = tenant.lower()
        for target in await self._database.read(query):
            if folded in (ANY_TENANT, target.account_name.lower()) and target.is_proved(proof, now_ms):
                return self._remember(folded, target)
        if proof.scheme == GATEWAY_TOKEN:
            account = await self._database.read(partial(_gateway, digest=proof.digest, now_ms=now_ms))
            if account is not None and folded in (ANY_TENANT, account[1].lower()):
                return Unclaimed(account[0], controller_id)
        raise Unproved

    def stands(self, imei: int, standing: Standing) -> None:
        """What is stored of a target has changed."""
        target = self._targets.get(imei)
        if target is not None:
            target.standing = standing

    async def refresh(self) -> bool:
        """Forget all if tokens, or how accounts want their devices treated, were changed."""
        changes = await self._database.read(token_sql.changes)
        if changes != self._changes:
            self._forget()
            self._changes = changes
        return False

    def _remember(self, tenant: str, target: Target) -> Target:
        if len(self._named) >= self._limits.ddi_targets:
            self._forget()
        kept = self._targets.setdefault(target.imei, target)
        if kept is not target:
            kept.tokens, kept.gateway, kept.settings = target.tokens, target.gateway, target.settings
            kept.controller_id, kept.campaigning = target.controller_id, target.campaigning
        self._named[tenant, target.controller_id] = kept
        return kept

    def _forget(self) -> None:
        self._named.clear()
        self._targets.clear()


def imei_in(controller_id: str) -> int | None:
    """Return the IMEI that a controller id spells, in any form that endpoint names have; None if none."""
    found = parse_endpoint_name(controller_id, lambda _digits: True).imei
    return None if found is None else int(found)


def _load(connection: Connection, controller_id: str, now_ms: int) -> list[Target]:
    imeis = dict.fromkeys(token_sql.named(connection, controller_id))
    spelt = imei_in(controller_id)
    if spelt is not None:
        imeis[spelt] = None
    found = (_load_one(connection, imei, controller_id, now_ms) for imei in imeis)
    return [target for target in found if target is not None]


def _load_one(connection: Connection, imei: int, controller_id: str, now_ms: int) -> Target | None:
    query = (
        select(devices.c.account_id, accounts.c.name, devices.c.protocol, devices.c.campaigning)
        .join_from(devices, accounts, accounts.c.id == devices.c.account_id)
        .where(devices.c.imei == imei, accounts.c.active)
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    target = Target(imei, row.account_id, row.name, controller_id)
    target.protocol, target.campaigning = row.protocol, row.campaigning
    target.tokens = token_sql.valid(connection, row.account_id, imei, now_ms)
    target.gateway = token_sql.valid(connection, row.account_id, None, now_ms)
    target.settings = store.settings_of(connection, row.account_id)
    target.standing = store.standing_of(connection, imei)
    return target


def _gateway(connection: Connection, digest: bytes, now_ms: int) -> tuple[int, str] | None:
    account_id = token_sql.gateway(connection, digest, now_ms)
    if account_id is None:
        return None
    query = select(accounts.c.id, accounts.c.name).where(accounts.c.id == account_id, accounts.c.active)
    row = connection.execute(query).first()
    return (row[0], row[1]) if row else None


def proof_of(authorization: bytes, certified: str | None, issuers: Sequence[str]) -> Proof:
    """Return what a request shows, of its headers."""
    scheme, _, token = authorization.decode("latin-1").strip().partition(" ")
    folded = scheme.lower()
    if folded in (TARGET_TOKEN, GATEWAY_TOKEN):
        return Proof(folded, digest(token.strip()))
    return Proof(certified=certified, issuers=tuple(issuers))
