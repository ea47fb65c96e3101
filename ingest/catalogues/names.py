"""Names that a person can type in ADQL without quotes: regular identifiers, lower case, unique, not reserved.

Source: ADQL 2.1 §2.1.2 (keywords) and §2.1.3 (identifiers); ADQL-01; domain.md trap 13.
"""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePath

# SQL92 and ADQL 2.1 §2.1.2. DEC is left out on purpose: it is SQL92's short form of DECIMAL, which ADQL's grammar
# never uses, and the name of declination in every catalogue that people query by heart.
RESERVED = frozenset(
    re.findall(
        r"\S+",
        """
    ABSOLUTE ACTION ADD ALL ALLOCATE ALTER AND ANY ARE AS ASC ASSERTION AT AUTHORIZATION AVG BEGIN BETWEEN BIT
    BIT_LENGTH BOTH BY CASCADE CASCADED CASE CAST CATALOG CHAR CHARACTER CHARACTER_LENGTH CHAR_LENGTH CHECK
    CLOSE COALESCE COLLATE COLLATION COLUMN COMMIT CONNECT CONNECTION CONSTRAINT CONSTRAINTS CONTINUE CONVERT
    CORRESPONDING COUNT CREATE CROSS CURRENT CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER CURSOR
    DATE DAY DEALLOCATE DECIMAL DECLARE DEFAULT DEFERRABLE DEFERRED DELETE DESC DESCRIBE DESCRIPTOR DIAGNOSTICS
    DISCONNECT DISTINCT DOMAIN DOUBLE DROP ELSE END END-EXEC ESCAPE EXCEPT EXCEPTION EXEC EXECUTE EXISTS
    EXTERNAL EXTRACT FALSE FETCH FIRST FLOAT FOR FOREIGN FOUND FROM FULL GET GLOBAL GO GOTO GRANT GROUP HAVING
    HOUR IDENTITY IMMEDIATE IN INDICATOR INITIALLY INNER INPUT INSENSITIVE INSERT INT INTEGER INTERSECT INTERVAL
    INTO IS ISOLATION JOIN KEY LANGUAGE LAST LEADING LEFT LEVEL LIKE LOCAL LOWER MATCH MAX MIN MINUTE MODULE
    MONTH NAMES NATIONAL NATURAL NCHAR NEXT NO NOT NULL NULLIF NUMERIC OCTET_LENGTH OF ON ONLY OPEN OPTION OR
    ORDER OUTER OUTPUT OVERLAPS PAD PARTIAL POSITION PRECISION PREPARE PRESERVE PRIMARY PRIOR PRIVILEGES
    PROCEDURE PUBLIC READ REAL REFERENCES RELATIVE RESTRICT REVOKE RIGHT ROLLBACK ROWS SCHEMA SCROLL SECOND
    SECTION SELECT SESSION SESSION_USER SET SIZE SMALLINT SOME SPACE SQL SQLCODE SQLERROR SQLSTATE SUBSTRING SUM
    SYSTEM_USER TABLE TEMPORARY THEN TIME TIMESTAMP TIMEZONE_HOUR TIMEZONE_MINUTE TO TRAILING TRANSACTION
    TRANSLATE TRANSLATION TRIM TRUE UNION UNIQUE UNKNOWN UPDATE UPPER USAGE USER USING VALUE VALUES VARCHAR
    VARYING VIEW WHEN WHENEVER WHERE WITH WORK WRITE YEAR ZONE ABS ACOS AREA ASIN ATAN ATAN2 BIGINT BOX CEILING
    CENTROID CIRCLE CONTAINS COORD1 COORD2 COORDSYS COS COT DEGREES DISTANCE EXP FLOOR ILIKE INTERSECTS IN_UNIT
    LOG LOG10 MOD OFFSET PI POINT POLYGON POWER RADIANS REGION RAND ROUND SIN SQRT TAN TOP TRUNCATE
    """,
    )
)
# Columns that every PostgreSQL relation has already; SExtractor's tables bring an XMIN and an XMAX.
_SYSTEM = frozenset({"TABLEOID", "XMIN", "CMIN", "XMAX", "CMAX", "CTID"})
MAXIMUM_LENGTH = 60  # PostgreSQL keeps 63 bytes of an identifier; three are left for a number that makes it unique.


def identifier(text: str) -> str:
    """One regular identifier for any text: "B-V" is b_v, "2MASS" is c_2mass, "Size" is size_, "α" is c_u03b1."""
    plain = unicodedata.normalize("NFKD", text.strip())
    plain = "".join(mark for mark in plain if not unicodedata.combining(mark))
    plain = plain.replace("+", " plus ").replace("%", " percent ").replace("*", " star ")
    plain = "".join(mark if mark.isascii() else f"u{ord(mark):04x}" for mark in plain)
    word = re.sub(r"[^a-z0-9]+", "_", plain.lower().replace("_", " ")).strip("_")
    if not word or not word[0].isalpha() or not text.strip()[:1].isascii():
        word = f"c_{word}".rstrip("_") if word else "c"
    word = word[:MAXIMUM_LENGTH].rstrip("_")
    return f"{word}_" if word.upper() in RESERVED | _SYSTEM else word


def unique_identifiers(names: Iterable[str], taken: Iterable[str] = ()) -> tuple[str, ...]:
    """Identifiers for all names, in order; the second of two alike gets "_2", and so on.

    A name that is an identifier as it stands keeps it, whichever comes first: of "_RAJ2000" and "RAJ2000" the second
    is raj2000.
    """
    wanted = list(names)
    result: list[str | None] = [None] * len(wanted)
    used = set(taken)
    untouched = [index for index, name in enumerate(wanted) if identifier(name) == name.lower()]
    rest = [index for index in range(len(wanted)) if index not in set(untouched)]
    for index in untouched + rest:
        base = identifier(wanted[index])
        candidate, number = base, 2
        while candidate in used:
            candidate, number = f"{base.rstrip('_')}_{number}", number + 1
        used.add(candidate)
        result[index] = candidate
    return tuple(name for name in result if name is not None)


def table_identifier(path: PurePath | str) -> str:
    """The table's name for a file: "tycho2_vt9.8.csv.gz" is cat.tycho2_vt9_8."""
    name = PurePath(path).name
    stem = re.sub(
        r"(\.(fits?|fts|vot|votable|xml|csv|tsv|ecsv|txt|parquet|pq|fz|gz|bz2))+$", "", name, flags=re.IGNORECASE
    )
    return f"cat.{identifier(stem or name)}"
