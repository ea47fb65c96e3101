"""User-defined functions: those of the Catalogue of ADQL User Defined Functions 1.2, names, arguments and meanings as
there (UDF-01), all but ivo_simbadpoint, which would ask another service.

What their SQL calls as sphere.* is installed by both adapters (archive/sphere/sql). The examples are tests, run on
both.
"""

from collections.abc import Sequence

from tap.adql.functions import (
    BIGINT,
    FRAME,
    GEOMETRY,
    INTEGER,
    NUMERIC,
    POINT,
    TEXT,
    TIMESTAMP,
    Example,
    Function,
)

DOUBLE = "DOUBLE PRECISION"

USER_DEFINED = (
    Function("ivo_hasword", (("haystack", TEXT), ("needle", TEXT)), INTEGER,
             "to_tsvector('simple', {0}) @@ plainto_tsquery('simple', {1})",
             "1 if all words of needle occur as words in haystack, without regard to case, else 0.", predicate=True,
             examples=(Example("ivo_hasword('The Crab Nebula', 'crab')", 1),
                       Example("ivo_hasword('The Crab Nebula', 'cra')", 0))),
    Function("ivo_hashlist_has", (("list", TEXT), ("item", TEXT)), INTEGER,
             "lower({1}) = ANY(string_to_array(lower({0}), '#'))",
             "1 if item is one of the words in the #-separated list, without regard to case, else 0.", predicate=True,
             examples=(Example("ivo_hashlist_has('Optical#X-ray', 'optical')", 1),
                       Example("ivo_hashlist_has('Optical#X-ray', 'ray')", 0))),
    Function("ivo_nocasematch", (("value", TEXT), ("pattern", TEXT)), INTEGER,
             "{0} ILIKE replace({1}, '\\', '\\\\')",
             "1 if value matches the LIKE pattern without regard to case, else 0.", predicate=True,
             examples=(Example("ivo_nocasematch('NGC 1275', 'ngc%')", 1),
                       Example("ivo_nocasematch('NGC 1275', 'ngc')", 0))),
    Function("ivo_interval_overlaps", (("a1", NUMERIC), ("b1", NUMERIC), ("a2", NUMERIC), ("b2", NUMERIC)), INTEGER,
             "({0} <= {3} AND {2} <= {1})",
             "1 if the interval [a1, b1] shares at least a point with [a2, b2], else 0.", predicate=True,
             examples=(Example("ivo_interval_overlaps(1, 2, 2, 3)", 1),
                       Example("ivo_interval_overlaps(1, 2, 2.5, 3)", 0))),
    Function("ivo_to_jd", (("d", TIMESTAMP),), DOUBLE,
             "(extract(epoch FROM {0}) / 86400 + 2440587.5)::double precision",
             "The Julian date of a timestamp, in the time scale of the timestamp.", unit="d", ucd="time.epoch",
             examples=(Example("ivo_to_jd('2000-01-01T12:00:00')", 2451545.0),)),
    Function("ivo_to_mjd", (("d", TIMESTAMP),), DOUBLE,
             "(extract(epoch FROM {0}) / 86400 + 40587)::double precision",
             "The modified Julian date (JD - 2400000.5) of a timestamp, in the time scale of the timestamp.",
             unit="d", ucd="time.epoch", examples=(Example("ivo_to_mjd('2000-01-01T12:00:00')", 51544.5),)),
    Function("ivo_string_agg", (("expr", TEXT), ("delim", TEXT)), TEXT, "string_agg({0}, {1})",
             "All values of a group that are not NULL, with delim between them.", aggregate=True,
             examples=(Example("ivo_string_agg('a', '#')", "a"),)),
    Function("ivo_histogram", (("val", NUMERIC), ("lower", NUMERIC), ("upper", NUMERIC), ("nbins", INTEGER)),
             "INTEGER[]",
             "sphere.histogram({0}::double precision, {1}::double precision, {2}::double precision, ({3})::integer)",
             "How many values of a group lie below lower, in each of nbins equal parts, and from upper on: "
             "nbins + 2 numbers.", aggregate=True,
             examples=(Example("ivo_histogram(2.5, 0, 10, 4)", [0, 0, 1, 0, 0, 0]),)),
    Function("ivo_normal_random", (("mu", NUMERIC), ("sigma", NUMERIC)), DOUBLE,
             # Box and Muller; 1 - random() is never 0, of which there is no logarithm.
             "({0} + {1} * sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()))",
             "A random number of the normal distribution with mean mu and standard deviation sigma.",
             examples=(Example("ivo_normal_random(5, 0)", 5.0), Example("ivo_normal_random(5, 1)", None))),
    Function("ivo_hms_to_degrees", (("hms", TEXT),), DOUBLE,
             "(15 * (split_part({0}, ':', 1)::double precision + split_part({0}, ':', 2)::double precision / 60"
             " + split_part({0}, ':', 3)::double precision / 3600))",
             "Degrees of an angle written hours:minutes:seconds.", unit="deg",
             examples=(Example("ivo_hms_to_degrees('06:30:00')", 97.5),)),
    Function("ivo_dms_to_degrees", (("dms", TEXT),), DOUBLE,
             # The sign is of the whole angle: -00:30:00 has it on a zero.
             "((CASE WHEN ltrim({0}) LIKE '-%%' THEN -1 ELSE 1 END)"
             " * (abs(split_part({0}, ':', 1)::double precision) + split_part({0}, ':', 2)::double precision / 60"
             " + split_part({0}, ':', 3)::double precision / 3600))",
             "Degrees of an angle written degrees:minutes:seconds, with an optional sign.", unit="deg",
             examples=(Example("ivo_dms_to_degrees('-00:30:00')", -0.5),)),
    Function("ivo_healpix_index", (("order", INTEGER), ("lon", NUMERIC), ("lat", NUMERIC)), BIGINT,
             "sphere.healpix(({0})::integer, {1}::double precision, {2}::double precision)",
             "The cell of the HEALPix order (NESTED, 0 to 29) that the position lies in, degrees.",
             examples=(Example("ivo_healpix_index(1, 40, 30)", 0), Example("ivo_healpix_index(5, 40, 30)", 230))),
    Function("ivo_healpix_index", (("order", INTEGER), ("p", POINT)), BIGINT,
             "sphere.healpix(({0})::integer, ({1})[1], ({1})[2])",
             "The cell of the HEALPix order (NESTED, 0 to 29) that the point lies in.",
             examples=(Example("ivo_healpix_index(5, POINT(40, 30))", 230),)),
    Function("ivo_healpix_center", (("order", INTEGER), ("index", BIGINT)), POINT,
             "sphere.healpix_center(({0})::integer, ({1})::bigint)",
             "The centre of a cell of the HEALPix order (NESTED, 0 to 29).",
             examples=(Example("ivo_healpix_center(0, 5)", [90.0, 0.0]),)),
    Function("ivo_epoch_prop_pos",
             (("ra", NUMERIC), ("dec", NUMERIC), ("parallax", NUMERIC), ("pmra", NUMERIC), ("pmdec", NUMERIC),
              ("radial_velocity", NUMERIC), ("ref_epoch", NUMERIC), ("out_epoch", NUMERIC)), POINT,
             "sphere.moved({0}::double precision, {1}::double precision, {2}::double precision, {3}::double precision,"
             " {4}::double precision, {5}::double precision, ({7} - {6})::double precision)",
             "Where a star is at out_epoch that was at ra, dec (degrees) at ref_epoch (Julian years): parallax mas, "
             "pmra with cos(dec) and pmdec mas/yr, radial_velocity km/s; one that is NULL counts as 0.",
             examples=(Example("ivo_epoch_prop_pos(10, 0, 0, 3600000, 0, 0, 2000, 2000.0)", [10.0, 0.0]),
                       Example("ivo_epoch_prop_pos(10, 0, 0, 0, 206264806.24709636, NULL, 2000, 2001)", [10.0, 45.0]))),
    Function("ivo_geom_transform", (("from_sys", FRAME), ("to_sys", FRAME), ("geo", GEOMETRY)), GEOMETRY,
             "sphere.turned({2}, {0})",
             "The shape in another frame: ICRS, FK5, GALACTIC, SUPER_GALACTIC or ECLIPTIC.",
             examples=(Example("COORD1(ivo_geom_transform('GALACTIC', 'ICRS', POINT(0, 0)))", 266.404988),)),
)  # fmt: skip

NAMES = tuple(dict.fromkeys(function.name for function in USER_DEFINED))


def user_defined(name: str, count: int) -> Function | None:
    """The function of this name, in lower case, that takes so many arguments; else the first; None: there is none."""
    namesakes: Sequence[Function] = [function for function in USER_DEFINED if function.name == name]
    fitting = (function for function in namesakes if len(function.parameters) == count)
    return next(fitting, namesakes[0] if namesakes else None)
