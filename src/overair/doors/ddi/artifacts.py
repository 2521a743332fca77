"""Files of actions: the list, the download, and the checksum (spec ddi.md, sections 2.8 to 2.10)."""

from urllib.parse import quote

import structlog
from starlette.responses import Response
from starlette.types import Receive, Send

from overair.doors.ddi.driver import Deployments
from overair.doors.ddi.http import RETRY_SECONDS, Refusal, Reply, Request, not_found, reply
from overair.doors.ddi.model import Stored
from overair.doors.ddi.targets import Target
from overair.doors.images.ranges import Part, wanted
from overair.doors.images.sending import Sending
from overair.packages.model import ImageGrant
from overair.platform.images import DamagedImage, ImagesUnavailable, UnknownImage
from overair.protocols.ddi import bodies
from overair.protocols.ddi.paths import MD5SUM
from overair.protocols.ddi.states import State

_log = structlog.get_logger()

OCTETS = "application/octet-stream"


class Artifacts:
    """The resources below ``softwaremodules``; a module is an action's, and has its number."""

    def __init__(self, deployments: Deployments, sending: Sending) -> None:
        self._deployments = deployments
        self._sending = sending

    async def listed(self, request: Request, target: Target) -> Reply:
        """Return the list of an action's files."""
        stored = await self._stored(request, target)
        return reply(request, bodies.artifacts(request.base, stored.action, request.client))

    async def fetched(self, request: Request, target: Target, receive: Receive, send: Send) -> Reply | None:
        """Answer the request for a file; returns what is still to be sent, None if all is."""
        stored = await self._stored(request, target)
        artifact = stored.action.artifact
        name = request.place.segments[3]
        if name == artifact.filename + MD5SUM:
            return _checksum(bodies.md5sum(artifact), name)
        if name != artifact.filename:
            raise not_found("the file")
        return await self._send(request, target, stored, receive, send)

    async def _stored(self, request: Request, target: Target) -> Stored:
        """Return the action whose module it is: the one that is open, or the one installed last."""
        number = request.place.number(1)
        job = self._deployments.job(target.imei)
        if job is not None and job.action.id == number and job.action.state is not State.CONFIRMING:
            return job.stored
        if number is None or number != target.standing.installed_id:
            raise not_found("the module")
        return await self._deployments.stored(target.imei, number)

    async def _send(
        self, request: Request, target: Target, stored: Stored, receive: Receive, send: Send
    ) -> Reply | None:
        artifact = stored.action.artifact
        etag = f'"{artifact.sha1}"'
        match = request.header("if-match")
        if match is not None and match.strip() != "*" and etag not in match:
            raise Refusal(412, "artifact.preconditionFailed", "the file is another one")
        who = str(target.imei)
        if not self._sending.has_room(who):
            raise _busy("too many downloads are under way")
        grant = ImageGrant(stored.package_id, artifact.size_bytes, bytes.fromhex(artifact.sha256))
        part = wanted(request.header, etag, artifact.size_bytes)
        with self._sending.counted(who):
            first = await self._first(grant, part)
            head = _head(part, etag, stored)
            if request.method == "HEAD" or part.status in (304, 416):
                return Reply(part.status, list(head.raw_headers))
            job = self._deployments.job(target.imei)
            if job is not None and job.action.id == stored.action.id:
                await self._deployments.downloads(job, whole=part.status == 200)
                going = job
                await self._sending.stream(
                    grant, part, head, receive, send, first, lambda: self._deployments.progressed(going)
                )
            else:
                await self._sending.stream(grant, part, head, receive, send, first)
        return None

    async def _first(self, grant: ImageGrant, part: Part) -> bytes:
        try:
            return await self._sending.piece(grant, part.start, part.end)
        except (UnknownImage, DamagedImage):
            raise not_found("the file") from None
        except ImagesUnavailable as error:
            _log.error("images_unavailable", reason=str(error))
            raise _busy("the file can't be read right now") from error


def _head(part: Part, etag: str, stored: Stored) -> Response:
    artifact = stored.action.artifact
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "MD5SUM": artifact.md5,
        "SHA256SUM": artifact.sha256,
        "X-Content-Type-Options": "nosniff",
    }
    if part.status == 416:
        headers["Content-Range"] = f"bytes */{artifact.size_bytes}"
    if part.status == 206:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{artifact.size_bytes}"
    if part.status != 304:
        headers["Content-Length"] = str(part.end - part.start)
    if part.status in (200, 206):
        headers["Content-Type"] = OCTETS
        headers["Content-Disposition"] = f"attachment;filename={quote(artifact.filename)}"
    return Response(status_code=part.status, headers=headers)


def _checksum(line: bytes, name: str) -> Reply:
    headers = [
        (b"content-type", b"text/plain;charset=utf-8"),
        (b"content-length", b"%d" % len(line)),
        (b"content-disposition", f"attachment;filename={quote(name)}".encode()),
        (b"x-content-type-options", b"nosniff"),
    ]
    return Reply(200, headers, line)


def _busy(message: str) -> Refusal:
    return Refusal(503, "busy", message, [(b"retry-after", RETRY_SECONDS)])
