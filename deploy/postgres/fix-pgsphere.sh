#!/bin/sh
# Makes Debian's pg_sphere 1.2.0 load into the PostgreSQL it was not built with. Run as root; again is harmless.
#
# Since PostgreSQL 15.20 CREATE OPERATOR refuses a commutator that another operator has already
# ("commutator operator @> is already the commutator of operator <@"). The last lines of pg_sphere--1.2.0.sql make two
# backwards-compatible operators @ for smoc, which name @> and !<@ as commutator and negator, taken by <@ before. The
# two clauses help the planner only, and nothing needs them: without them the extension loads, and works the same.
#
# sh fix-pgsphere.sh [FOLDER]: where PostgreSQL's shared files lie, /usr/share/postgresql unless given.
# What is written: the installed SQL file, and only where those two operators have the clauses; a copy stays beside it.
set -eu

for file in "${1:-/usr/share/postgresql}"/*/extension/pg_sphere--1.2.0.sql; do
    [ -f "$file" ] || continue
    mended=$(mktemp "$file.XXXXXX")
    # An operator's lines are held until its semicolon: then it is known whether it is @ on a smoc.
    awk '
        /^CREATE OPERATOR @ \(/ { held = $0; smoc = 0; kept = $0; next }
        held != "" {
            held = held "\n" $0
            if ($0 ~ /RIGHTARG[ \t]*=[ \t]*smoc/) smoc = 1
            if ($0 !~ /^[ \t]*(COMMUTATOR|NEGATOR)[ \t]*=/) kept = kept "\n" $0
            if ($0 ~ /;/) { print (smoc ? kept : held); held = "" }
            next
        }
        { print }
        END { if (held != "") print held }
    ' "$file" > "$mended"
    if cmp -s "$file" "$mended"; then
        rm -f "$mended"
        echo "$file: nothing to mend"
    else
        [ -e "$file.before-uraniborg" ] || cp -p "$file" "$file.before-uraniborg"
        chmod 644 "$mended"
        mv "$mended" "$file"
        echo "$file: COMMUTATOR and NEGATOR left out of the two operators @ for smoc"
    fi
done
