-- Positions and coordinate ranges: plain SQL functions, so that the planner writes them out where they are called.
-- Angles are degrees unless a name says radians. 1e-12 rad (0.2 microarcsec) is the width of every boundary: wider
-- than the rounding of double precision, so that a point computed to lie on an edge does, and far below any astrometry.
CREATE SCHEMA IF NOT EXISTS sphere
----
COMMENT ON SCHEMA sphere IS 'Geometry on the sky; made by archive.sphere, see its install()'
----
-- sin^2(d/2) of the separation d: accurate for small d. NULL for what is no position, as NaN or an infinite coordinate
-- (sin would end the whole query with an error).
CREATE OR REPLACE FUNCTION sphere.haversine(ra1 double precision, dec1 double precision, ra2 double precision, dec2 double precision)
RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN greatest(abs(ra1), abs(dec1), abs(ra2), abs(dec2)) < 'Infinity' THEN
    power(sin(radians(dec2 - dec1) / 2), 2)
    + cos(radians(dec1)) * cos(radians(dec2)) * power(sin(radians(ra2 - ra1) / 2), 2) END
$$
----
-- cos^2(d/2): the haversine to the antipode, accurate where d is near 180.
CREATE OR REPLACE FUNCTION sphere.antihaversine(ra1 double precision, dec1 double precision, ra2 double precision, dec2 double precision)
RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN greatest(abs(ra1), abs(dec1), abs(ra2), abs(dec2)) < 'Infinity' THEN
    power(sin(radians(dec2 + dec1) / 2), 2)
    + cos(radians(dec1)) * cos(radians(dec2)) * power(cos(radians(ra2 - ra1) / 2), 2) END
$$
----
CREATE OR REPLACE FUNCTION sphere.separation(ra1 double precision, dec1 double precision, ra2 double precision, dec2 double precision)
RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT degrees(2 * atan2(sqrt(sphere.haversine(ra1, dec1, ra2, dec2)), sqrt(sphere.antihaversine(ra1, dec1, ra2, dec2))))
$$
----
-- separation <= radius. Below 90 degrees without an inverse function; false for a negative radius or NaN.
CREATE OR REPLACE FUNCTION sphere.in_cone(ra1 double precision, dec1 double precision, ra2 double precision, dec2 double precision, radius double precision)
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE
    WHEN radius >= 0 AND radius < 90
      THEN sphere.haversine(ra1, dec1, ra2, dec2) <= power(sin(radians(radius) / 2 + 5e-13), 2)
    WHEN radius >= 90 AND radius < 'NaN'
      THEN sphere.separation(ra1, dec1, ra2, dec2) <= radius + 6e-11
    ELSE radius <> radius
  END
$$
----
-- An angle brought to 0 <= a < 360.
CREATE OR REPLACE FUNCTION sphere.wrapped(angle double precision)
RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT angle - 360 * floor(angle / 360)
$$
----
-- ra_min > ra_max crosses 0 (DALI 1.2, range); a pole has every right ascension.
CREATE OR REPLACE FUNCTION sphere.in_range(ra double precision, "dec" double precision, ra_min double precision, ra_max double precision, dec_min double precision, dec_max double precision)
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT "dec" BETWEEN dec_min AND dec_max AND ra < 'NaN' AND (ra_max - ra_min >= 360 OR abs("dec") = 90
    OR sphere.wrapped(ra - ra_min) <= sphere.wrapped(ra_max - ra_min))
$$
----
CREATE OR REPLACE FUNCTION sphere.unit(ra double precision, "dec" double precision)
RETURNS double precision[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT ARRAY[cos(radians("dec")) * cos(radians(ra)), cos(radians("dec")) * sin(radians(ra)), sin(radians("dec"))]
$$
----
-- ADQL 2.1 §4.2.9: a cross with arms of half the sizes along the axes at the centre, closed by great circles at right
-- angles to the arms: a rectangle in the tangent plane, hence the same at the poles. From 180 degrees on no great
-- circles close it; then the coordinate range of that size is meant ("BOX(180, 0, 360, 180)" is the whole sky).
CREATE OR REPLACE FUNCTION sphere.box_region(ra double precision, "dec" double precision, width double precision, height double precision)
RETURNS double precision[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
DECLARE
  x double precision; y double precision; z double precision; east double precision; north double precision;
  corner int; region double precision[] := '{}';
BEGIN
  IF width < 0 OR height < 0 OR width = 'NaN' OR height = 'NaN' THEN
    RETURN NULL;
  END IF;
  IF width >= 180 OR height >= 180 THEN
    RETURN ARRAY[CASE WHEN width >= 360 THEN 0 ELSE sphere.wrapped(ra - width / 2) END,
                 CASE WHEN width >= 360 THEN 360 ELSE sphere.wrapped(ra + width / 2) END,
                 greatest("dec" - height / 2, -90), least("dec" + height / 2, 90)];
  END IF;
  FOR corner IN 0..3 LOOP
    east := tan(radians(width / 2)) * (CASE WHEN corner IN (1, 2) THEN -1 ELSE 1 END);
    north := tan(radians(height / 2)) * (CASE WHEN corner IN (2, 3) THEN -1 ELSE 1 END);
    x := cos(radians("dec")) - north * sin(radians("dec"));
    z := sin(radians("dec")) + north * cos(radians("dec"));
    region := region || ARRAY[sphere.wrapped(ra + degrees(atan2(east, x))), degrees(atan2(z, sqrt(x * x + east * east)))];
  END LOOP;
  RETURN region;
END
$$
