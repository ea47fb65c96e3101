-- The bounds of a shape as pgSphere knows them: what the index on points is asked with.
CREATE OR REPLACE FUNCTION sphere.sbox_of(shape double precision[])
RETURNS {extension}.sbox LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 100 AS $$
DECLARE
  b double precision[] := sphere.bounds(shape);
BEGIN
  -- Equal right ascensions are all of them, to pgSphere: the padding of bounds keeps a point's own apart.
  RETURN {extension}.sbox({extension}.spoint(radians(b[1]), radians(greatest(b[3], -90))),
                          {extension}.spoint(radians(sphere.wrapped(b[2])), radians(least(b[4], 90))));
END
$$
