"""Who may ask, and for whom (spec ddi.md, sections 3 and 10.1)."""

import asyncio
import ipaddress
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import update

from overair.accounts.sql import accounts
from overair.credentials import token_sql
from overair.credentials.token_model import ControllerTaken, InvalidToken, TokenTaken, TooManyTokens
from overair.devices.model import Provisioning
from overair.doors.ddi.http import Trust
from overair.doors.ddi.settings import changed
from overair.platform.clock import DAY_MS
from overair.platform.limits import Limits

from ..virtual import virtual
from .ddi_world import ATTRIBUTES, IMEI, OTHER_IMEI, TOKEN, Target, World, open_world, watched

OTHER_TOKEN = "f" * 32
PROXY = Trust((ipaddress.ip_network("127.0.0.0/8"),), "X-Ssl-Client-Cn")
ISSUER = "AB:CD:01"


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    with watched():
        yield


async def certify(world: World, *issuers: str) -> None:
    await changed(
        world.database,
        world.account.id,
        seconds=None,
        jitter_percent=None,
        confirmation=None,
        issuers=issuers,
    )


@virtual
async def test_whoever_is_not_proved_learns_nothing(tmp_path: Path) -> None:
    """The same answer, byte for byte, for a wrong token and for a device that is not there."""
    async with open_world(tmp_path) as world:
        target = await world.target()
        await world.target(OTHER_IMEI, OTHER_TOKEN)
        asked = [
            target.like(token=None),
            target.like(token="0" * 32),
            target.like(token=OTHER_TOKEN),
            target.like(token=""),
            target.like(imei="356938035643809"),
            target.like(imei="nobody", token="0" * 32),
            target.like(tenant="0742000123-99999"),
            target.like(headers={"Authorization": f"GatewayToken {TOKEN}"}, token=None),
            target.like(headers={"Authorization": f"Bearer {TOKEN}"}, token=None),
            target.like(headers={"Authorization": "TargetToken"}, token=None),
            target.like(headers={"X-Ssl-Client-Cn": IMEI, "X-Authority": ISSUER}, token=None),
        ]
        for path in (
            "",
            "/configData",
            "/deploymentBase/1",
            "/softwaremodules/1/artifacts/a.swu",
            "/nonsense",
        ):
            answers = [await each.ask("GET", path) for each in asked]
            assert {answer.status_code for answer in answers} == {401}, path
            assert len({answer.content for answer in answers}) == 1
            assert {answer.headers["www-authenticate"] for answer in answers} == {"TargetToken"}


@virtual
async def test_the_scheme_is_read_in_any_case_and_with_any_spaces(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = (await world.target()).like(token=None)
        for header in (f"targettoken {TOKEN}", f"TARGETTOKEN   {TOKEN}", f"TargetToken {TOKEN} "):
            assert (await target.ask("GET", headers={"Authorization": header})).status_code == 200, header


@virtual
async def test_links_are_spelt_as_the_device_spells_them(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target(known=False)
        for tenant in ("DEFAULT", "default", "Default", world.account.name):
            links = await target.like(tenant=tenant).poll()
            assert links["configData"] == f"http://fota.test/{tenant}/controller/v1/{IMEI}/configData"
        for spelt in (f"urn:imei:{IMEI}", f"imei-{IMEI}"):
            links = await target.like(imei=spelt).poll()
            assert links["configData"].endswith(f"/v1/{spelt}/configData")


@virtual
async def test_a_gateway_speaks_for_every_device_of_its_account_and_no_other(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target(known=False)
        made = await world.tokens.add(world.account.id, None)
        assert re.fullmatch("[0-9a-f]{32}", made.token)
        gateway = target.like(token=None, headers={"Authorization": f"GatewayToken {made.token}"})
        assert "configData" in await gateway.poll()
        assert (await gateway.like(tenant="another").ask("GET")).status_code == 401
        # One that is no device of the account is asked who it is, but gets nothing else.
        unknown = gateway.like(imei="356938035643809")
        assert set(await unknown.poll()) == {"configData", "sleep"}
        assert (await unknown.ask("GET", "/deploymentBase/1")).status_code == 404


@virtual
async def test_a_board_that_says_its_imei_is_that_device(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await world.devices.add(world.account.id, [Provisioning(int(IMEI)), Provisioning(int(OTHER_IMEI))])
        made = await world.tokens.add(world.account.id, None)
        headers = {"Authorization": f"GatewayToken {made.token}"}
        board = Target(world.client, "nrf9160dk-8a1b", None, headers=headers)
        assert set(await board.poll()) == {"configData", "sleep"}
        for wrong in ({"VIN": "nrf9160dk-8a1b"}, {"imei": "356938035643809"}, {"imei": "12"}):
            assert (await board.configure(**wrong)).status_code == 404
        assert (await board.configure(**ATTRIBUTES)).status_code == 200
        assert (await world.shown())["make"] == "ACME"
        assert "configData" not in await board.poll()
        # Neither of the two can be bound again.
        other = board.like(imei="nrf9160dk-ffff")
        assert (await other.configure(**ATTRIBUTES)).status_code == 404
        with pytest.raises(ControllerTaken):
            await world.tokens.bind(world.account.id, "nrf9160dk-8a1b", int(OTHER_IMEI))


@virtual
async def test_a_name_is_bound_to_a_device_beforehand(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target(known=False)
        await world.tokens.bind(world.account.id, "board ü", int(IMEI))
        named = target.like(imei="board%20%C3%BC")
        assert (await named.poll())["configData"].endswith("/v1/board%20%C3%BC/configData")
        assert (await named.like(token="0" * 32).ask("GET")).status_code == 401


@virtual
async def test_names_that_no_path_can_carry(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        for name in ("", "a/b", "..", "x" * 257, "a\x00b"):
            with pytest.raises(InvalidToken, match="controller id"):
                await world.tokens.bind(world.account.id, name, int(IMEI))


@virtual
async def test_an_old_token_stays_good_for_a_while(tmp_path: Path) -> None:
    async with open_world(tmp_path, limits=Limits(key_overlap_days=1)) as world:
        target = await world.target()
        new = target.like(token=(await world.tokens.add(world.account.id, int(IMEI))).token)
        assert (await new.ask("GET")).status_code == (await target.ask("GET")).status_code == 200
        await asyncio.sleep(DAY_MS / 1000)
        assert (await target.ask("GET")).status_code == 401
        assert (await new.ask("GET")).status_code == 200
        assert await world.tokens.purge() == 1
        (kept,) = await world.tokens.valid(world.account.id, int(IMEI))
        await world.tokens.remove(world.account.id, int(IMEI), kept.id)
        await asyncio.sleep(61)
        assert (await new.ask("GET")).status_code == 401


@virtual
async def test_tokens_are_bounded_and_checked(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await world.target(known=False)
        for token in ("short", "x" * 257, "with a space in it", "umlaut-äöü-äöü-äöü"):
            with pytest.raises(InvalidToken) as refused:
                await world.tokens.add(world.account.id, int(IMEI), token)
            assert token not in str(refused.value)
        for _ in range(3):
            await world.tokens.add(world.account.id, int(IMEI))
        with pytest.raises(TooManyTokens):
            await world.tokens.add(world.account.id, int(IMEI))
        # One that is given again is the current one again.
        await world.tokens.add(world.account.id, int(IMEI), TOKEN)
        newest, *_ = await world.tokens.valid(world.account.id, int(IMEI))
        assert newest.expires_ms is None
        assert TOKEN not in repr(newest)
        stored = await world.database.read(
            partial(token_sql.of_owner, account_id=world.account.id, imei=int(IMEI))
        )
        assert TOKEN.encode() not in {row.digest for row in stored}


@virtual
async def test_two_accounts_cannot_have_one_gateway_token(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await world.tokens.add(world.account.id, None, TOKEN)
        with pytest.raises(TokenTaken):
            await world.tokens.add(world.account.id + 1, None, TOKEN)


@virtual
async def test_a_certificate_counts_from_a_trusted_proxy_with_a_known_issuer(tmp_path: Path) -> None:
    async with open_world(tmp_path, trust=PROXY) as world:
        target = await world.target()
        shown = {"X-Ssl-Client-Cn": IMEI, "X-Ssl-Issuer-Hash-2": ISSUER}
        proxied = target.like(token=None, headers=shown)
        assert (await proxied.ask("GET")).status_code == 401  # nobody may certify yet
        await certify(world, ISSUER)
        await asyncio.sleep(61)
        assert (await proxied.ask("GET")).status_code == 200
        for changed_headers in (
            {"X-Ssl-Client-Cn": OTHER_IMEI},
            {"X-Ssl-Issuer-Hash-2": "00"},
            {"X-Ssl-Issuer-Hash-2": ""},
        ):
            assert (await proxied.ask("GET", headers=changed_headers)).status_code == 401


@virtual
async def test_what_others_say_of_certificates_and_hosts_is_not_believed(tmp_path: Path) -> None:
    elsewhere = Trust((ipaddress.ip_network("10.0.0.0/8"),), "X-Ssl-Client-Cn")
    async with open_world(tmp_path, trust=elsewhere) as world:
        target = await world.target(known=False)
        await certify(world, ISSUER)
        await asyncio.sleep(61)
        shown = {"X-Ssl-Client-Cn": IMEI, "X-Ssl-Issuer-Hash-1": ISSUER}
        assert (await target.like(token=None, headers=shown).ask("GET")).status_code == 401
        forged = target.like(headers={"X-Forwarded-Host": "evil.test", "X-Forwarded-Proto": "https"})
        assert (await forged.poll())["configData"].startswith("http://fota.test/")


@virtual
async def test_a_trusted_proxy_says_where_it_is_reached(tmp_path: Path) -> None:
    async with open_world(tmp_path, trust=PROXY) as world:
        target = await world.target(known=False)
        behind = target.like(headers={"X-Forwarded-Host": "fota.example:8443", "X-Forwarded-Proto": "https"})
        assert (await behind.poll())["configData"].startswith("https://fota.example:8443/DEFAULT/")


@virtual
async def test_a_host_that_no_link_can_repeat(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target(known=False)
        for host in ('a"b', "a b", "a/b", "user@host", "a:b", "a:123456"):
            assert (await target.ask("GET", headers={"Host": host})).status_code == 400


@virtual
async def test_an_account_that_is_closed_lets_nobody_in(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        target = await world.target()
        await world.database.write(
            lambda connection: connection.execute(update(accounts).values(active=False))
        )
        await world.tokens.add(world.account.id, None)  # so that what is remembered is forgotten
        await asyncio.sleep(61)
        assert (await target.ask("GET")).status_code == 401
