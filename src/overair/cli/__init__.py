"""The command line ``overair``. Commands are imported when they are called, so that help is instant."""

import importlib

import click

# Command → (module, what ``overair --help`` says of it).
COMMANDS = {
    "account": ("account", "Add and list accounts, and change their licences."),
    "callback": ("callback", "Show callback URLs, their secrets, and what became of messages."),
    "campaign": ("campaign", "Add, list, watch, change and end campaigns."),
    "clock": ("clock", "Move the clock of a sandbox."),
    "db": ("db", "Look after the database."),
    "demo": ("demo", "Show the whole service with a simulated fleet."),
    "device": ("device", "Add, import, list, show and watch devices."),
    "key": ("key", "Make and revoke API keys."),
    "license": ("license", "Assign, remove and list licences."),
    "openapi": ("openapi", "Print the OpenAPI document of the REST API."),
    "package": ("package", "Add, list and remove firmware, software and files; say whom to trust."),
    "serve": ("serve", "Run the service."),
    "sim": ("sim", "Run simulated devices."),
    "status": ("status", "Show how the running service is doing."),
    "user": ("user", "Add and unlock users."),
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"overair.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="overair")
def main() -> None:
    """Software management for fleets of cellular IoT devices.

    Exit codes: 0 done, 1 refused (the message says why), 2 wrong use of a command.
    """
