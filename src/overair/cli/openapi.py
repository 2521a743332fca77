"""``overair openapi``."""

import click
import msgspec


@click.command()
def command() -> None:
    """Print the OpenAPI 3.1 document of the REST API, the one that the service serves at /openapi.json."""
    from overair.doors.thingspace.app import openapi_document

    click.echo(msgspec.json.format(msgspec.json.encode(openapi_document()), indent=2).decode())
