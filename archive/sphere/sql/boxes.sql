-- Bounds as boxes of core types, for GiST.
-- What the index on points is asked with: one box, or two where the shape crosses 0.
CREATE OR REPLACE FUNCTION sphere.point_boxes(shape double precision[])
RETURNS box[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 100 AS $$
DECLARE
  b double precision[] := sphere.bounds(shape);
BEGIN
  IF b[2] > 360 THEN
    RETURN ARRAY[box(point(b[1], b[3]), point(360, b[4])), box(point(0, b[3]), point(b[2] - 360, b[4]))];
  ELSIF b[2] >= b[1] THEN
    RETURN ARRAY[box(point(b[1], b[3]), point(b[2], b[4]))];
  END IF;
  RETURN NULL;
END
$$
----
-- What is indexed of a region: its bounds; one that crosses 0 reaches beyond 360.
CREATE OR REPLACE FUNCTION sphere.region_box(region double precision[])
RETURNS box LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 100 AS $$
DECLARE
  b double precision[] := sphere.bounds(region);
BEGIN
  RETURN box(point(b[1], b[3]), point(b[2], b[4]));
END
$$
----
-- What the index on regions is asked with: the shape's bounds and their images one turn on, or back.
CREATE OR REPLACE FUNCTION sphere.region_boxes(shape double precision[])
RETURNS box[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 100 AS $$
DECLARE
  b double precision[] := sphere.bounds(shape);
BEGIN
  IF b IS NULL THEN
    RETURN NULL;
  ELSIF b[2] >= 360 THEN
    RETURN ARRAY[box(point(b[1], b[3]), point(b[2], b[4])), box(point(b[1] - 360, b[3]), point(b[2] - 360, b[4])),
      box(point(b[1] + 360, b[3]), point(b[2] + 360, b[4]))];
  END IF;
  RETURN ARRAY[box(point(b[1], b[3]), point(b[2], b[4])), box(point(b[1] + 360, b[3]), point(b[2] + 360, b[4]))];
END
$$
