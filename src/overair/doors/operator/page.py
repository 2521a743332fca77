"""``/operator/``: how the service is doing, for a person with a browser. Plain HTML, without scripts."""

from collections.abc import Iterable, Sequence
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from overair.doors.operator.campaign_records import CampaignRecord
from overair.doors.operator.status import JobRecord, Status, StatusRecord
from overair.doors.operator.token import looker

PATHS = ("/operator/", "/operator")
REFRESH_SECONDS = 5

_HEADERS = {
    "Cache-Control": "no-store",
    # Whatever an owner called a campaign: nothing in it is run or fetched.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_ASK = {"WWW-Authenticate": 'Basic realm="Overair operator: any user, the token as password"'}

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
td.bad { color: #c22; overflow-wrap: anywhere; } td.id { overflow-wrap: anywhere; }
dl { display: flex; flex-wrap: wrap; gap: .5rem 2.5rem; margin: 1rem 0; }
dt { font-size: .85rem; opacity: .7; } dd { margin: 0; font-size: 1.5rem; }
progress { width: 8rem; } small { opacity: .7; }
"""


def page_routes(status: Status, token: str) -> list[Route]:
    """Return the routes of the page."""
    may_look = looker(token)

    async def show(request: Request) -> Response:
        if not may_look(request.headers.get("authorization")):
            return PlainTextResponse("The operator's token is missing or wrong.\n", 401, _ASK)
        return HTMLResponse(page(await status.read()), headers=_HEADERS)

    return [Route(path, show, methods=["GET"]) for path in PATHS]


def page(status: StatusRecord) -> str:
    """Return the HTML of the page."""
    ahead = status.sandbox_ahead_seconds
    sandbox = "" if ahead is None else f" · sandbox, {ahead} s ahead"
    body = [
        f"<h1>Overair {escape(status.version)}</h1>",
        f"<p><small>{escape(status.time)}{sandbox} · every {REFRESH_SECONDS} s</small></p>",
        _figures(status),
        f"<h2>Campaigns that go on: {status.campaign_count}</h2>",
        _table(
            ("Campaign", "Account", "Package", "Status", "Done*", "", "Devices", "A minute*"),
            [_campaign(each) for each in status.campaigns],
        ),
        "<h2>Jobs</h2>",
        _table(("Job", "Runs*", "Last run", "Failures*", "Last error"), [_job(each) for each in status.jobs]),
        "<h2>Callbacks that wait</h2>",
        _table(
            ("Account", "Version", "URL", "Waiting*"),
            [
                (_text(each.account_name), _text(each.version), _id(each.url), _number(each.waiting))
                for each in status.listeners
            ],
        ),
    ]
    head = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Overair</title><style>{_STYLE}</style></head>"
    )
    return "\n".join([head, "<body>", *body, "</body></html>", ""])


def _figures(status: StatusRecord) -> str:
    figures = (
        ("registered devices", status.registrations),
        ("attempts", status.attempts),
        ("images on their way", status.transfers),
        ("writes that wait", status.write_backlog),
        ("callbacks delivered", status.callbacks_delivered),
    )
    shown = [f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures]
    return "<dl>" + "".join(shown) + "</dl>"


def _campaign(each: CampaignRecord) -> Sequence[str]:
    done, total = each.done or 0, each.total or 0
    counts = ", ".join(f"{count} {name}" for name, count in (each.counts or {}).items())
    return (
        f'<td class="id">{escape(each.campaign_name or "-")}<br><small>{escape(each.id)}</small></td>',
        _text(each.account_name),
        _text(each.firmware_name or ""),
        _text(each.status),
        _number(f"{done} of {total}"),
        f'<td><progress max="{max(1, total)}" value="{done}"></progress></td>',
        _text(counts),
        _number(each.per_minute or 0),
    )


def _job(each: JobRecord) -> Sequence[str]:
    error = f"{each.last_error_time} {each.last_error}" if each.last_error else ""
    return (
        _text(each.name),
        _number(each.runs),
        _text(each.last_run_time or "-"),
        _number(each.failures),
        f'<td class="bad">{escape(error)}</td>',
    )


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; headings with a star are above numbers, and cells come as HTML."""
    lines = ["<tr>" + "".join(row) + "</tr>" for row in rows]
    if not lines:
        return "<p>none</p>"
    head = "".join(
        f'<th class="n">{name[:-1]}</th>' if name.endswith("*") else f"<th>{name}</th>" for name in headings
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n" + "\n".join(lines) + "\n</tbody></table>"


def _text(value: str) -> str:
    return f"<td>{escape(value)}</td>"


def _id(value: str) -> str:
    return f'<td class="id">{escape(value)}</td>'


def _number(value: object) -> str:
    return f'<td class="n">{escape(str(value))}</td>'
