"""`uraniborg portal`: what the pages need that does not come with Uraniborg."""

import click

from archive.portal import vendor


@click.group("portal")
def portal_commands() -> None:
    """The web pages."""


@portal_commands.command("fetch")
def fetch_command() -> None:
    """Fetch Aladin Lite (GPL-3.0) and CodeMirror (MIT) by npm into this environment. `make install` does it."""
    fetched = vendor.fetch()
    for package in vendor.PACKAGES:
        click.echo(f"{package.name} {package.version}: {'fetched' if package in fetched else 'there already'}")
