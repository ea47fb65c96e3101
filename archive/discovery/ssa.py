"""Simple Spectral Access 1.1: its parameters, and the rows that they mean.

Rows are the spectra of ivoa.obscore; columns are ssa_columns.py's, the forms of values ssa_values.py's.
"""

from collections.abc import Sequence

from archive.discovery import conditions as rows
from archive.discovery import ssa_values as forms
from archive.discovery.conditions import Bound
from archive.discovery.parameters import RESPONSEFORMAT, Parameter, conditions, maxrec
from archive.discovery.ssa_columns import COLUMNS, SHOWN
from archive.holdings.running import Statement
from archive.sphere.sphere import CircleSql, PointSql, Sphere
from archive.vo.dali import Parameters
from archive.vo.descriptors import Input
from archive.vo.errors import UsageError

STANDARD_ID = "ivo://ivoa.net/std/SSA"
DEFAULT_SIZE_DEG = 0.1
MAX_SIZE_DEG = 360.0
TYPES = ("spectrum",)


def parameters(default_maxrec: int, hard_maxrec: int) -> tuple[Parameter, ...]:
    """SSA 1.1 §4.1.1 and §4.1.2. POS and SIZE are read together, by `statement`."""
    return (
        Parameter(Input("REQUEST", "queryData, which is also meant without it", values=("queryData",), is_open=True)),
        Parameter(Input("VERSION", "Version of the protocol", values=("1.1", "1.04"), is_open=True)),
        Parameter(Input("POS", "Position `ra,dec`, ICRS, or `ra,dec;FRAME`", unit="deg", ucd="pos.eq")),
        Parameter(
            Input("SIZE", f"Diameter of the circle around POS; {DEFAULT_SIZE_DEG:g} if not given", "double", None,
                  unit="deg", ucd="phys.angSize", minimum="0", maximum=f"{MAX_SIZE_DEG:g}"),
        ),
        Parameter(
            Input("BAND", "Wavelengths in vacuum: `a/b`, `/b`, `a/`, `a` or a band's name, in a list", unit="m",
                  ucd="em.wl;stat.interval"),
            forms.covers_band,
        ),
        Parameter(
            Input("TIME", "Dates (ISO 8601, UTC): `a/b`, `/b`, `a/` or `a`, in a list", ucd="time.interval"),
            forms.covers_time,
        ),
        Parameter(
            Input("FORMAT", "all, compliant, native, graphic, votable, fits, xml, media types in a list, or METADATA: "
                  "what this service takes and gives, and no rows", ucd="meta.code.mime"),
            forms.has_format,
        ),
        Parameter(Input("SPECRP", "Least resolving power", "double", None, ucd="spect.resolution"),
                  rows.at_least("em_res_power")),
        Parameter(Input("SPATRES", "Coarsest angular resolution", "double", None, unit="deg", ucd="pos.angResolution"),
                  rows.no_coarser("s_resolution", in_degrees=True)),
        Parameter(Input("TIMERES", "Coarsest resolution in time", "double", None, unit="s", ucd="time.resolution"),
                  rows.no_coarser("t_resolution")),
        Parameter(Input("SNR", "Least signal to noise", "double", None, ucd="stat.snr"), rows.at_least("snr")),
        Parameter(Input("PUBDID", "Publisher DID", ucd="meta.ref.ivoid"), rows.is_ivoid("obs_publisher_did")),
        Parameter(Input("CREATORDID", "Creator's identifier", ucd="meta.id"), rows.is_ivoid("obs_creator_did")),
        Parameter(Input("COLLECTION", "Part of a collection's name, in any case", ucd="meta.id"),
                  forms.has_part("obs_collection"), "obs_collection"),
        Parameter(Input("TARGETNAME", "Object, as the observer named it, or a list", ucd="meta.id;src"),
                  forms.is_listed("target_name")),
        Parameter(Input("TARGETCLASS", "Class of the object, or a list", ucd="src.class"),
                  forms.is_listed("target_class")),
        Parameter(Input("FLUXCALIB", "absolute, relative, normalized, uncalibrated or any", ucd="meta.code.qual"),
                  forms.has_calibration),
        Parameter(Input("MTIME", "Dates when the metadata last changed, as of TIME", ucd="time.processing"),
                  forms.changed_in),
        Parameter(Input("TOP", "Rows to answer at the most, as of MAXREC", "int", None, minimum="0")),
        maxrec(default_maxrec, hard_maxrec),
        Parameter(Input("COMPRESS", "Taken and not needed: files come as they lie", values=("true", "false"),
                        is_open=True)),
        Parameter(Input("RUNID", "Taken, and left in the access log")),
        RESPONSEFORMAT,
    )  # fmt: skip


def check_request(asked: Parameters) -> None:
    """UsageError if anything but queryData is asked for (SSA 1.1 §8.1)."""
    request = asked.single("REQUEST")
    if request is not None and request.strip().lower() != "querydata":
        raise UsageError(f"REQUEST takes queryData, not {request!r}")


def top(asked: Parameters, maxrec: int) -> int:
    """Rows at the most: MAXREC, or TOP if that is less (SSA 1.1 §4.1.2.6). UsageError: a negative TOP."""
    wanted = asked.integer("TOP")
    if wanted is not None and wanted < 0:
        raise UsageError(f"TOP takes 0 or more, not {wanted}")
    return maxrec if wanted is None else min(wanted, maxrec)


def statement(
    declared: Sequence[Parameter], asked: Parameters, sphere: Sphere, limit: int, *, publisher: str
) -> Statement:
    """The spectra asked for, in SSA's columns. limit: rows at the most. UsageError: a value is wrong."""
    bound = Bound(sphere)
    where = [f"dataproduct_type = ANY({bound(list(TYPES))})", *conditions(declared, asked, bound)]
    where += _around(asked, bound)
    # The conditions are about ObsCore's columns alone; the file's are added to the rows that are left.
    found = f"SELECT * FROM ivoa.obscore WHERE {' AND '.join(where)}"  # noqa: S608 - bound
    name = f"{bound(publisher)}::text"
    shown = ", ".join(f'{one.sql.replace("{publisher}", name)} AS "{one.column.name}"' for one in SHOWN)
    sql = f"SELECT {shown} FROM ({found}) AS o JOIN pub.file AS f ON f.file_id = o.dp_id LIMIT {bound(limit)}"  # noqa: S608
    return Statement(sql, bound.values, COLUMNS)


def _around(asked: Parameters, bound: Bound) -> list[str]:
    """POS and SIZE: the spectrum's position lies in the circle of that diameter (SSA 1.1 §4.1.1.1, §4.1.1.2)."""
    position, size = asked.single("POS"), asked.single("SIZE")
    diameter = DEFAULT_SIZE_DEG if size is None else rows.decimal("SIZE", size)
    if not 0 <= diameter <= MAX_SIZE_DEG:
        raise UsageError(f"SIZE takes a diameter from 0 to {MAX_SIZE_DEG:g} degrees, not {diameter:g}")
    if position is None:
        return []
    ra, dec = forms.position("POS", position)
    circle = CircleSql(PointSql(bound(ra), bound(dec)), bound(diameter / 2))
    return [bound.sphere.contains(PointSql("s_ra", "s_dec"), circle)]
