"""An answer of a discovery protocol: a statement run as the reader, streamed in the form that was asked for."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from archive.holdings.running import RunningQuery
from archive.vo.columns import Column
from archive.vo.dali import Parameters, status_headers
from archive.vo.formats import Writer, writer_for
from archive.vo.markup import Markup
from archive.vo.origin import SOFTWARE
from archive.vo.tally import Tally
from archive.vo.votable import Info

TABLEDATA = writer_for("votable/td")  # the default: Aladin, SPLAT and CASSIS read it too


@dataclass(frozen=True, slots=True)
class Shown:
    """A column of an answer and the SQL that fills it."""

    column: Column
    sql: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A checked request. `open` runs it to its first page; `cancel` ends it, from any thread."""

    writer: Writer
    running: RunningQuery
    maxrec: int
    infos: tuple[Info, ...]
    resources: tuple[Markup, ...] = ()
    table_name: str = "result"

    # Searches read what everybody may see, and there is no chance in them.
    is_repeatable = True

    def is_whole(self) -> bool:
        """Whether all rows have come."""
        return self.running.ended

    def open(self) -> Generator[bytes]:
        """Run to the first page, so that most failures still have a status; then the document."""
        self.running.open()
        return self._chunks()

    def cancel(self) -> None:
        self.running.cancel()

    def when_freed(self, call: Callable[[], None]) -> None:
        self.running.when_freed(call)

    def headers(self) -> dict[str, str]:
        """What is known of the answer when it begins."""
        return status_headers(self.maxrec, ended=self.running.ended, overflow=self._overflow())

    def _overflow(self) -> bool:
        # MAXREC=0 asks for the columns, and nothing was cut (SIA 2.0 §2.1.18).
        return self.maxrec > 0 and self.running.overflow

    def _chunks(self) -> Generator[bytes]:
        tally = Tally(self.running.columns)
        try:
            yield from self.writer.write(
                self.running.columns,
                tally.seen(self.running.batches()),
                infos=self.infos,
                overflow=self._overflow,
                table_name=self.table_name,
                resources=self.resources,
                trailing=tally.infos,
            )
        finally:
            self.running.close()


def writer(asked: Parameters, default: str) -> Writer:
    """By RESPONSEFORMAT alone: FORMAT is about the data here. Without one, TABLEDATA under the default media type."""
    wanted = asked.single("RESPONSEFORMAT")
    if wanted is None:
        return Writer(default, TABLEDATA.extension, TABLEDATA.write)
    return writer_for(wanted)


def infos(standard: Sequence[Info], asked: Parameters, maxrec: int, at: str, publisher: str) -> tuple[Info, ...]:
    """What an answer says of itself (user needs 2 and 9; Data Origin in the VO 1.2, table 1). at: ISO 8601."""
    request = "&".join(f"{name}={value}" for name, value in asked.items())
    return (
        *standard,
        Info("publisher", publisher),
        Info("server_software", SOFTWARE),
        Info("REQUEST", request[:4096]),
        Info("request_date", at, "UTC"),
        Info("MAXREC", str(maxrec), "rows at the most"),
    )
