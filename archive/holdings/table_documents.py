"""The tableset as VOSI tells it, kept table by table: thousands of tables are put into words once, not at each request.

How a table is told is archive.vo.vosi's.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import chain, starmap
from threading import Lock

import pyarrow as pa

from archive.holdings.published import PublishedTables
from archive.holdings.table_set import AT_ONCE, Head, TableSet
from archive.vo.columns import Schema
from archive.vo.vosi import Detail, column_element, table_element, tableset

CODEC = pa.Codec("zstd", 1)  # at its quickest; a table's text becomes a tenth or less


class TableDocuments:
    """Tells the tables that are published now."""

    def __init__(self, published: PublishedTables, *, most_bytes: int = 32 << 20) -> None:
        """most_bytes: of tables' texts that are kept, compressed; those that were asked for least recently go."""
        self._published = published
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[str, int], tuple[int, bytes]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def document(self, detail: Detail, more: Iterable[Schema] = ()) -> Iterator[bytes]:
        """VOSI 1.1 §3.3: the tableset, a few tables at a time. more: schemas told besides, their tables in full."""
        tables = self._published.tables()
        told = (
            (schema, map(table_element, schema.tables) if detail == "min" else self._texts(tables, schema))
            for schema in tables.schemas
        )
        others = ((schema, (table_element(table, "max") for table in schema.tables)) for schema in more)
        return tableset(chain(told, others))

    def _texts(self, tables: TableSet, schema: Schema) -> Iterator[str]:
        heads = [tables.head(table.name.lower()) for table in schema.tables]
        for start in range(0, len(heads), AT_ONCE):
            part = heads[start : start + AT_ONCE]
            kept = {head.name: self._find(head) for head in part}
            missing = [head for head in part if kept[head.name] is None]
            made = {
                table.name: table_element(table, "max", starmap(column_element, columns))
                for table, columns in tables.told(missing)
            }
            for head in part:
                text = kept[head.name] or made.get(head.name)
                if text is not None:  # else it has gone meanwhile
                    yield text
            for head in missing:
                if head.name in made:
                    self._keep(head, made[head.name])

    def _find(self, head: Head) -> str | None:
        with self._lock:
            packed = self._kept.get((head.name, head.mark))
            if packed is None:
                return None
            self._kept.move_to_end((head.name, head.mark))
        plain: bytes = CODEC.decompress(packed[1], packed[0], asbytes=True)
        return plain.decode()

    def _keep(self, head: Head, text: str) -> None:
        plain = text.encode()
        packed = CODEC.compress(plain, asbytes=True)
        with self._lock:
            if (head.name, head.mark) not in self._kept:
                self._kept[head.name, head.mark] = (len(plain), packed)
                self._bytes += len(packed)
            while self._bytes > self._most_bytes:
                self._bytes -= len(self._kept.popitem(last=False)[1][1])
