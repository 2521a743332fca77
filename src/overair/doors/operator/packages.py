"""The operator's calls on packages: announce one, send its image in pieces, end the upload; list, withdraw.

An upload goes on after a break: ``HEAD …/image`` says how many bytes there are, and the next piece begins
there, by ``Upload-Offset`` or by ``Content-Range``. A piece that begins elsewhere gets a 409 with the right
offset, and nothing of it is kept.
"""

import re
from collections.abc import AsyncIterator, Iterable

from starlette.types import ASGIApp

from overair.accounts.service import AccountService
from overair.doors.operator.errors import OFFSET_HEADER, problem_of, telling
from overair.doors.operator.pieces import Pieces
from overair.doors.operator.records import (
    PackageList,
    PackageRecord,
    PackageRequest,
    UploadRecord,
    new_package,
    package_record,
)
from overair.doors.operator.token import operator_guard
from overair.doors.thingspace import errors
from overair.doors.thingspace.errors import Problem, Refusal, invalid_parameter
from overair.doors.thingspace.http import (
    NO_BODY,
    AnyRoute,
    Body,
    Call,
    Parameter,
    Reply,
    Route,
    json_body,
    router,
)
from overair.doors.thingspace.parameters import PROTOCOLS, UUID_PATTERN
from overair.doors.thingspace.services import Services
from overair.packages.model import Package, State, UnknownPackage
from overair.packages.service import PackageService
from overair.records import RecordError

PREFIX = "/operator"
PATH = "/v1/packages"
ONE = f"{PATH}/{{packageId}}"

_CONTENT_RANGE = re.compile(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15}|\*)", re.ASCII)
_OFFSET = re.compile(r"\d{1,15}", re.ASCII)


def _read_id(text: str) -> str:
    if not UUID_PATTERN.fullmatch(text.lower()):
        raise Refusal(problem_of(UnknownPackage(text)))
    return text.lower()


PACKAGE_ID = Parameter("packageId", "path", _read_id, "Id of the package")
ACCOUNT_NAME = Parameter("account", "query", str, "Name of the account; missing: all of them")


def operator_app(
    packages: PackageService, services: Services, token: str, more: Iterable[AnyRoute] = ()
) -> ASGIApp:
    """Return the application, with *more* resources beside packages, to be mounted at :data:`PREFIX`."""
    return router([*OperatorPackages(packages, services.accounts, token).routes(), *more], services)


class OperatorPackages:
    """The handlers."""

    def __init__(self, packages: PackageService, accounts: AccountService, token: str) -> None:
        self._packages = packages
        self._accounts = accounts
        self._guard = operator_guard(token)

    async def add(self, call: Call, _: None, asked: PackageRequest) -> PackageRecord:  # noqa: ARG002
        """Announce a package; its upload begins."""
        with telling():
            account = await self._accounts.account(asked.account_name)
            # A spelling that nobody has published is for the domain to refuse.
            protocol = PROTOCOLS.get(asked.protocol.upper()) or asked.protocol
            package = await self._packages.begin(account.id, new_package(asked, protocol))
            return package_record(package, account.name, 0)

    async def list(self, call: Call, _: None, __: None) -> PackageList:
        """List the packages that are not withdrawn."""
        name = call.value(ACCOUNT_NAME)
        with telling():
            account_id = (await self._accounts.account(name)).id if name else None
            found = await self._packages.listed(account_id)
        names = {account.id: account.name for account in await self._accounts.list_accounts()}
        return PackageList(packages=[package_record(each, names[each.account_id]) for each in found])

    async def show(self, call: Call, _: None, __: None) -> PackageRecord:
        """Show one package."""
        with telling():
            return await self._record(await self._packages.get_by_id(call.value(PACKAGE_ID)))

    async def withdraw(self, call: Call, _: None, __: None) -> Reply:
        """Withdraw a package, or drop an upload."""
        with telling():
            await self._packages.withdraw(call.value(PACKAGE_ID))
        return Reply()

    async def progress(self, call: Call, _: None, __: None) -> Reply:
        """Answer how far an upload has come."""
        package_id = call.value(PACKAGE_ID)
        with telling():
            return _upload(package_id, *await self._packages.offset(package_id))

    async def send(self, call: Call, _: None, stream: AsyncIterator[bytes]) -> Reply:
        """Take a piece of the image; answers once it is on the disk."""
        package_id, offset = call.value(PACKAGE_ID), _offset(call)
        pieces = Pieces(stream, call.services.limits)
        with telling():
            await self._packages.append(package_id, offset, pieces)
            if pieces.cut:
                raise Refusal(errors.BODY_TOO_SLOW)
            return _upload(package_id, *await self._packages.offset(package_id))

    async def complete(self, call: Call, _: None, __: None) -> PackageRecord:
        """End an upload: the image is checked, and the package is ready or refused."""
        with telling():
            return await self._record(await self._packages.complete(call.value(PACKAGE_ID)))

    async def _record(self, package: Package) -> PackageRecord:
        names = {account.id: account.name for account in await self._accounts.list_accounts()}
        offset = None
        if package.state is State.UPLOADING:
            offset, _ = await self._packages.offset(package.id)
        return package_record(package, names[package.account_id], offset)

    def routes(self) -> tuple[AnyRoute, ...]:
        """Return the table."""
        guard = self._guard
        image, end = f"{ONE}/image", f"{ONE}/complete"
        request = json_body(PackageRequest, _unreadable)
        piece = Body(_stream)
        one = (PACKAGE_ID,)
        return (
            Route(method="POST", path=PATH, summary="Announce a package", guard=guard, body=request,
                  handler=self.add, answer=PackageRecord),
            Route(method="GET", path=PATH, summary="List packages", guard=guard, body=NO_BODY,
                  handler=self.list, answer=PackageList, parameters=(ACCOUNT_NAME,)),
            Route(method="GET", path=ONE, summary="Show a package", guard=guard, body=NO_BODY,
                  handler=self.show, answer=PackageRecord, parameters=one),
            Route(method="DELETE", path=ONE, summary="Withdraw a package", guard=guard, body=NO_BODY,
                  handler=self.withdraw, answer=None, parameters=one),
            Route(method="GET", path=image, summary="How far an upload has come", guard=guard, body=NO_BODY,
                  handler=self.progress, answer=UploadRecord, parameters=one),
            Route(method="PUT", path=image, summary="Send a piece of an image", guard=guard, body=piece,
                  handler=self.send, answer=UploadRecord, parameters=one),
            Route(method="PATCH", path=image, summary="Send a piece of an image", guard=guard, body=piece,
                  handler=self.send, answer=UploadRecord, parameters=one),
            Route(method="POST", path=end, summary="End an upload", guard=guard, body=NO_BODY,
                  handler=self.complete, answer=PackageRecord, parameters=one),
        )  # fmt: skip


async def _stream(call: Call) -> AsyncIterator[bytes]:
    return call.stream()


def _unreadable(error: RecordError) -> Problem:
    return invalid_parameter(str(error))


def _offset(call: Call) -> int:
    """Return where a piece begins: at the start, unless a header says otherwise."""
    said = call.header(OFFSET_HEADER)
    if said is not None:
        if not _OFFSET.fullmatch(said):
            raise Refusal(invalid_parameter(f"{OFFSET_HEADER} must be a number of bytes"))
        return int(said)
    said = call.header("Content-Range")
    if said is None:
        return 0
    found = _CONTENT_RANGE.fullmatch(said)
    if found is None:
        raise Refusal(invalid_parameter("Content-Range must be like bytes 0-1023/4096"))
    return int(found[1])


def _upload(package_id: str, offset: int, size_bytes: int) -> Reply:
    record = UploadRecord(id=package_id, upload_offset=offset, size_bytes=size_bytes)
    return Reply(record, {OFFSET_HEADER: str(offset), "Cache-Control": "no-store"})
