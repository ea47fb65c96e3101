"""Catalogues: K01 to K04 (SDP 8 §12). Footprints: footprints.py; what ties tiles together: delivery.py."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.describe.facts import RefusedError
from phase3.rules.breach import Breach
from phase3.rules.product import CATALOGUE, FILE_LIST, Product

MAX_ROWS = 50_000_000
MAIN_ID, MAIN_EPOCH = "meta.id;meta.main", "time.epoch;meta.main"
RA, DEC = "pos.eq.ra;meta.main", "pos.eq.dec;meta.main"


def catalogue_form(product: Product) -> Iterator[Breach]:
    """K01: an empty primary HDU, then PHASE3CATALOG; a metadata file has no rows, and lists its tiles."""
    at = product.primary
    if product.hdu(at).shape:
        yield product.breach(
            "K01", at, "NAXIS", "primary_not_empty", "the primary HDU has data.", "NAXIS = 0", "move the data away."
        )
    if product.has("EXTNAME", at):
        yield product.breach(
            "K01", at, "EXTNAME", "keyword_forbidden", "EXTNAME stands in the primary HDU.", "absent", "remove it."
        )
    first = product.hdu(1).name if len(product.file.hdus) > 1 else ""
    if first != CATALOGUE and (first or len(product.file.hdus) < 2):  # F05 tells of one without a name
        yield product.breach(
            "K01", None, "EXTNAME", "extname_wrong", f"the first extension is called {first!r}.", CATALOGUE,
            f"write EXTNAME = '{CATALOGUE}'.",
        )  # fmt: skip
    rows = sum(product.hdu(index).shape[0] for index in product.science if product.hdu(index).shape)
    if product.prodcatg == "SCIENCE.MCATALOG":
        lists = [hdu for hdu in product.file.hdus if hdu.name == FILE_LIST]
        if rows or not lists or "ORIGFILE" not in [name.upper() for name in lists[0].columns]:
            yield product.breach(
                "K01", None, "EXTNAME", "metafile_form",
                f"{rows} rows in {CATALOGUE}; {'a' if lists else 'no'} {FILE_LIST}.",
                f"no rows in {CATALOGUE}, and {FILE_LIST} with a column ORIGFILE, a row for each tile",
                "write the metadata file without data, and list its tiles.",
            )  # fmt: skip
    elif rows >= MAX_ROWS:
        yield product.breach(
            "K01", None, "NAXIS2", "rows_too_many", f"{rows} rows.", f"< {MAX_ROWS}", "split the catalogue into tiles."
        )


def _with_ucd(product: Product, index: int, ucd: str) -> list[int]:
    return [i for i, value in product.indexed("TUCD", index).items() if value == ucd]


def identifier(product: Product) -> Iterator[Breach]:
    """K02: one main identifier, never null, unique; with several epochs the pair of identifier and epoch is."""
    for index in product.science:
        if not product.indexed("TUCD", index):
            continue  # the keyword table asks for them
        columns = _with_ucd(product, index, MAIN_ID)
        if len(columns) != 1:
            yield product.breach(
                "K02", index, "TUCDi", "identifier_missing", f"{len(columns)} columns have the UCD {MAIN_ID}.",
                "exactly one", f"give the UCD {MAIN_ID} to the column that names each record.",
            )  # fmt: skip
            continue
        epochs = _with_ucd(product, index, MAIN_EPOCH)
        if product.get("M_EPOCH") is True and len(epochs) != 1:
            yield product.breach(
                "K02", index, "TUCDi", "epoch_missing", f"M_EPOCH is T, and {len(epochs)} columns have {MAIN_EPOCH}.",
                "exactly one", f"give the UCD {MAIN_EPOCH} to the column of the epoch.",
            )  # fmt: skip
        yield from _unique(product, index, columns[0], epochs[:1] if product.get("M_EPOCH") is True else [])


def _unique(product: Product, index: int, column: int, epochs: list[int]) -> Iterator[Breach]:
    keyword = f"TTYPE{column}"
    try:
        table = product.file.table(index)
    except RefusedError:
        return  # check_bytes tells of it
    if table is None or not len(table):
        return
    values = np.asarray(table.field(column - 1))
    if values.dtype.kind not in "SUiu" or values.ndim > 1:
        yield product.breach(
            "K02", index, keyword, "identifier_type", f"the identifier is {values.dtype}.", "text or an integer",
            "write the identifier as text or integer.",
        )  # fmt: skip
        return
    if values.dtype.kind in "SU" and (np.char.strip(values.astype("U")) == "").any():
        yield product.breach(
            "K02", index, keyword, "identifier_null", "records without an identifier.", "a name for every record",
            "name them.",
        )  # fmt: skip
    if epochs:
        values = np.rec.fromarrays([values, np.asarray(table.field(epochs[0] - 1))])
    repeated = len(values) - len(np.unique(values))
    if repeated:
        yield product.breach(
            "K02", index, keyword, "identifier_repeats", f"{repeated} records have the identifier of another.",
            "each record its own", "name each record once; for several epochs set M_EPOCH = T.",
        )  # fmt: skip


def source_columns(product: Product) -> Iterator[Breach]:
    """K03: catalogues of sources have one main position, in degrees. A flag of variability is not demanded."""
    for index in product.science:
        found = {ucd: _with_ucd(product, index, ucd) for ucd in (RA, DEC)}
        positions = any(str(ucd).startswith("pos.eq.") for ucd in product.indexed("TUCD", index).values())
        if positions and any(len(columns) != 1 for columns in found.values()):
            yield product.breach(
                "K03", index, "TUCDi", "position_missing", "positions, and not one main pair of them.",
                f"one column {RA}, one {DEC}", "give these UCDs to the columns of the best position.",
            )  # fmt: skip
            continue
        for i in (*found[RA], *found[DEC]):
            unit = product.text(f"TUNIT{i}", index)
            if unit is not None and unit != "deg":
                yield product.breach(
                    "K03", index, f"TUNIT{i}", "position_unit", f"the position is in {unit!r}.", "deg",
                    "write positions in degrees.",
                )  # fmt: skip


def values(product: Product) -> Iterator[Breach]:
    """K04: values within their limits; no infinities; no column without any value."""
    for index in product.science:
        try:
            table = product.file.table(index)
        except RefusedError:
            continue  # check_bytes tells of it
        if table is None or not len(table):
            continue
        for i in range(1, product.columns(index) + 1):
            column = np.asarray(table.field(i - 1))
            yield from _column(product, index, i, column)


def _column(product: Product, index: int, i: int, column: NDArray[Any]) -> Iterator[Breach]:
    name = f"TTYPE{i}"
    kind = column.dtype.kind
    valid = np.ones(column.shape, bool)
    if kind == "f":
        valid = ~np.isnan(column)
        if np.isinf(column).any():
            yield product.breach(
                "K04", index, name, "infinite", "infinite values.", "finite values, NaN for null", "write NaN."
            )
            return
    elif kind in "iu" and isinstance(null := product.get(f"TNULL{i}", index), int):
        valid = column != null
    elif kind in "SU":
        valid = np.char.strip(column.astype("U"), " \0") != ""
    if column.size and not valid.any():
        yield product.breach(
            "K04", index, name, "column_empty", f"the column {product.get(name, index)!r} has no value at all.",
            "at least one value", "leave the column out.",
        )  # fmt: skip
        return
    if kind not in "fiu" or not column.size:
        return
    low, high = product.number(f"TDMIN{i}", index), product.number(f"TDMAX{i}", index)
    least, most = float(column[valid].min()), float(column[valid].max())
    slack = 1e-6 * max(abs(least), abs(most)) if column.dtype.itemsize <= 4 and kind == "f" else 0.0
    for keyword, wrong, limit, value in (
        (f"TDMIN{i}", low is not None and least < low - slack, low, least),
        (f"TDMAX{i}", high is not None and most > high + slack, high, most),
    ):
        if wrong:
            yield product.breach(
                "K04", index, keyword, "outside_limits", f"{keyword} is {limit}, and a value is {value:.10g}.",
                "all values within TDMIN and TDMAX", "correct the limit, or the value.",
            )  # fmt: skip
