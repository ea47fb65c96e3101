"""What is known of a result when its last row has gone by: how many there were, and which articles they name to cite.

Articles are those of a column of bibcodes, as ObsCore's bib_reference.
"""

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from archive.vo.columns import Column
from archive.vo.votable import Info

BIBCODE = "meta.bib.bibcode"
MOST = 100  # articles that one result names


class Tally:
    """Looks on while rows go by."""

    def __init__(self, columns: Sequence[Column]) -> None:
        of = (place for place, column in enumerate(columns) if column.ucd == BIBCODE and column.is_text)
        self._place = next(of, None)
        self._articles: dict[str, None] = {}
        self._rows = 0

    def seen(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches, unchanged."""
        for batch in batches:
            self._rows += batch.num_rows
            if self._place is not None and len(self._articles) <= MOST:
                self._articles |= dict.fromkeys(pc.unique(batch.column(self._place)).drop_null().to_pylist())
            yield batch

    def infos(self) -> Sequence[Info]:
        """The count, and an INFO an article (Data Origin in the VO 1.2, table 2): the first MOST."""
        return (Info("rows", str(self._rows), "rows of this table"), *self._cited())

    def _cited(self) -> Iterator[Info]:
        for article in list(self._articles)[:MOST]:
            yield Info("article", article, "article to cite for data sets of this table", ucd="meta.bib.bibcode")
        if len(self._articles) > MOST:
            yield Info("WARNING", "more articles", "more are to be cited: the column has them all")
