"""`uraniborg portal`: what the pages need that does not come with Uraniborg."""

import click

from archive.portal import vendor


@click.group("portal")
def portal_commands() -> None:
    """The web pages."""


@portal_commands.command("fetch")
def fetch_command() -> None:
    """Fetch Aladin Lite (GPL-3.0) by npm into this environment, for the pages' maps. `make install` does it."""
    for package in vendor.PACKAGES:
        fetched = vendor.fetch(package)
        click.echo(f"{package.name} {package.version}: {'fetched' if fetched else 'there already'}")
