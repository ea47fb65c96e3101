-- Where a star is after some Julian years, [ra, dec]: motion in a straight line with constant speed (ESA SP-1200 vol. 1
-- §1.5.5). parallax mas, proper motions mas/yr (pmra with cos(dec)), radial velocity km/s; what is not known is 0.
CREATE OR REPLACE FUNCTION sphere.moved(ra double precision, "dec" double precision, parallax double precision, pmra double precision, pmdec double precision, radial_velocity double precision, years double precision)
RETURNS double precision[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 200 AS $$
DECLARE
  mas constant double precision := radians(1 / 3600000::double precision);
  a double precision := radians(ra); d double precision := radians("dec");
  east double precision := coalesce(pmra, 0) * mas * years; north double precision := coalesce(pmdec, 0) * mas * years;
  -- 4.740470464 km/s are an astronomical unit a Julian year.
  away double precision := 1 + coalesce(radial_velocity, 0) * coalesce(parallax, 0) * mas * years / 4.740470464;
  x double precision; y double precision; z double precision;
BEGIN
  IF ra IS NULL OR "dec" IS NULL OR years IS NULL THEN
    RETURN NULL;
  END IF;
  x := away * cos(d) * cos(a) - east * sin(a) - north * sin(d) * cos(a);
  y := away * cos(d) * sin(a) + east * cos(a) - north * sin(d) * sin(a);
  z := away * sin(d) + north * cos(d);
  RETURN ARRAY[sphere.wrapped(degrees(atan2(y, x))), degrees(atan2(z, sqrt(x * x + y * y)))];
END
$$
----
-- A shape turned by a rotation matrix (nine numbers, row by row). A coordinate range has no counterpart in other axes: NULL.
CREATE OR REPLACE FUNCTION sphere.turned(shape double precision[], m double precision[])
RETURNS double precision[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 200 AS $$
DECLARE
  result double precision[] := shape; n int := array_length(shape, 1); i int := 1;
  u double precision[]; x double precision; y double precision; z double precision;
BEGIN
  IF sphere.kind(shape) IS NULL OR n = 4 THEN
    RETURN NULL;
  END IF;
  WHILE i < n LOOP
    u := sphere.unit(shape[i], shape[i + 1]);
    x := m[1] * u[1] + m[2] * u[2] + m[3] * u[3];
    y := m[4] * u[1] + m[5] * u[2] + m[6] * u[3];
    z := m[7] * u[1] + m[8] * u[2] + m[9] * u[3];
    result[i] := sphere.wrapped(degrees(atan2(y, x))); result[i + 1] := degrees(atan2(z, sqrt(x * x + y * y)));
    i := i + 2;  -- the third number of a circle, its radius, is left
  END LOOP;
  RETURN result;
END
$$
----
-- How many values lie below lower, in each of bins equal parts, and from upper on: bins + 2 numbers. Not of the sky, but
-- PostgreSQL has no such aggregate, and an expression would have to keep every value.
CREATE OR REPLACE FUNCTION sphere.histogram_step(counts integer[], x double precision, low double precision, high double precision, bins integer)
RETURNS integer[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  n integer;
BEGIN
  IF counts IS NULL THEN
    IF bins IS NULL OR bins < 1 OR bins > 100000 OR low IS NULL OR high IS NULL OR NOT low < high THEN
      RAISE EXCEPTION 'a histogram takes 1 to 100000 bins, and a lower limit below the upper one' USING ERRCODE = '22023';
    END IF;
    counts := array_fill(0, ARRAY[bins + 2]);
  END IF;
  IF x IS NOT NULL AND x <> 'NaN' THEN
    n := width_bucket(x, low, high, bins) + 1;
    counts[n] := counts[n] + 1;
  END IF;
  RETURN counts;
END
$$
----
CREATE OR REPLACE AGGREGATE sphere.histogram(double precision, double precision, double precision, integer) (
  SFUNC = sphere.histogram_step, STYPE = integer[]
)
