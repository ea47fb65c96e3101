-- Circles that together cover a shape: what the index on points is asked with. One circle around the shape, or, where
-- that would not fit into a hemisphere, the two halves of the sky. Circles, because the index answers pgSphere's boxes
-- wrongly where they are wide: of 9,765 points in the box of a cone of 33 degrees it gave 9,448.
CREATE OR REPLACE FUNCTION sphere.scircles_of(shape double precision[])
RETURNS {extension}.scircle[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 100 AS $$
DECLARE
  b double precision[];
  ra double precision;
  de double precision;
  half double precision;
  radius double precision;
BEGIN
  IF cardinality(shape) = 3 THEN
    ra := shape[1];
    de := shape[2];
    radius := shape[3];
  ELSE
    b := sphere.bounds(shape);
    half := (b[2] - b[1]) / 2;
    IF half < 80 THEN
      -- No point of a box narrower than 180 degrees is farther from its middle than its farther corner.
      ra := b[1] + half;
      de := (greatest(b[3], -90) + least(b[4], 90)) / 2;
      radius := greatest(
        degrees(acos(least(1, sind(de) * sind(greatest(b[3], -90)) + cosd(de) * cosd(greatest(b[3], -90)) * cosd(half)))),
        degrees(acos(least(1, sind(de) * sind(least(b[4], 90)) + cosd(de) * cosd(least(b[4], 90)) * cosd(half)))));
    END IF;
  END IF;
  IF radius IS NULL AND b IS NULL THEN
    RETURN NULL;
  END IF;
  IF radius < 0 THEN
    RETURN '{}';  -- nothing lies in it
  END IF;
  -- Wider than the shape by far more than rounding, and by less than anybody could mind; acos is good to 1e-6 degrees.
  radius := radius + 1e-5 + 1e-9 * radius;
  IF radius < 90 THEN
    RETURN ARRAY[{extension}.scircle({extension}.spoint(radians(sphere.wrapped(ra)), radians(de)), radians(radius))];
  END IF;
  RETURN ARRAY[{extension}.scircle({extension}.spoint(0, pi() / 2), pi() / 2),
               {extension}.scircle({extension}.spoint(0, - pi() / 2), pi() / 2)];
END
$$
----
-- The same for a MOC.
CREATE OR REPLACE FUNCTION sphere.scircles_of_moc(moc int8multirange)
RETURNS {extension}.scircle[] LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT COST 1000 AS $$
  SELECT coalesce(array_agg(one), '{}') FROM sphere.moc_circles(moc, 0) AS circle, unnest(sphere.scircles_of(circle)) AS one
$$
