-- Relations between shapes (as arrays, see shapes.sql), exact on the sphere, boundaries included.
-- Is the direction (x, y, z) at a right ascension from ra_min on over width? A pole is at every one.
CREATE OR REPLACE FUNCTION sphere.in_ra(x double precision, y double precision, ra_min double precision, width double precision)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
DECLARE
  along double precision := sphere.wrapped(degrees(atan2(y, x)) - ra_min);
BEGIN
  RETURN x * x + y * y < 1e-24 OR along <= width + 6e-11 OR along >= 360 - 6e-11;
END
$$
----
CREATE OR REPLACE FUNCTION sphere.range_contains(r double precision[], inner_ double precision[])
RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 500 AS $$
DECLARE
  kind text := sphere.kind(inner_); everywhere boolean := r[2] - r[1] >= 360; p double precision[]; limits double precision[];
  width double precision := CASE WHEN everywhere THEN 360 ELSE sphere.wrapped(r[2] - r[1]) END; i int; k int; b int; n int;
BEGIN
  IF kind = 'circle' THEN
    RETURN sphere.in_range(inner_[1], inner_[2], r[1], r[2], r[3], r[4])
      AND (array_length(inner_, 1) = 2 OR sphere.range_distance(r, inner_[1], inner_[2]) >= inner_[3] - 6e-11);
  ELSIF kind = 'range' THEN
    RETURN inner_[3] >= r[3] AND inner_[4] <= r[4] AND (everywhere OR (inner_[2] - inner_[1] < 360
      AND sphere.wrapped(inner_[1] - r[1]) + sphere.wrapped(inner_[2] - inner_[1]) <= width + 6e-11));
  END IF;
  p := sphere.prepare(inner_);
  limits := sphere.dec_limits(p);
  IF limits[1] < r[3] - 6e-11 OR limits[2] > r[4] + 6e-11 THEN
    RETURN false;
  ELSIF limits IS NULL OR everywhere THEN
    RETURN limits IS NOT NULL OR NULL;
  END IF;
  n := p[1];
  FOR i IN 1..n LOOP
    k := 9 + 7 * i; b := CASE WHEN i = n THEN 16 ELSE k + 7 END;
    IF NOT sphere.in_ra(p[k], p[k + 1], r[1], width) OR NOT sphere.in_ra(p[k] + p[b], p[k + 1] + p[b + 1], r[1], width) THEN
      RETURN false;
    END IF;
  END LOOP;
  -- Its edges stay inside; so does it, unless it is the other side of them.
  RETURN NOT sphere.crosses_meridians(p, r) AND NOT sphere.covers_position(p, r[1] + width / 2 + 180, (limits[1] + limits[2]) / 2);
END
$$
----
CREATE OR REPLACE FUNCTION sphere.circle_contains(circle double precision[], inner_ double precision[])
RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 500 AS $$
DECLARE
  kind text := sphere.kind(inner_); p double precision[]; r double precision := CASE WHEN array_length(circle, 1) = 3 THEN circle[3] ELSE 0 END;
  far double precision[] := sphere.unit(circle[1] + 180, -circle[2]);
BEGIN
  IF kind = 'circle' THEN
    RETURN r >= 180 OR sphere.separation(circle[1], circle[2], inner_[1], inner_[2])
      + CASE WHEN array_length(inner_, 1) = 3 THEN inner_[3] ELSE 0 END <= r + 6e-11;
  ELSIF kind = 'range' THEN
    -- Nothing of it lies in the rest of the sky, a circle around the antipode.
    RETURN r >= 180 OR (NOT sphere.in_range(circle[1] + 180, -circle[2], inner_[1], inner_[2], inner_[3], inner_[4])
      AND sphere.range_distance(inner_, circle[1] + 180, -circle[2]) >= 180 - r - 6e-11);
  END IF;
  p := sphere.prepare(inner_);
  RETURN r >= 180 OR (sphere.edge_distance(p, far[1], far[2], far[3]) >= radians(180 - r) - 1e-12
    AND NOT sphere.covers(p, far[1], far[2], far[3]));
END
$$
----
CREATE OR REPLACE FUNCTION sphere.polygon_contains(q double precision[], inner_ double precision[])
RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 500 AS $$
DECLARE
  kind text := sphere.kind(inner_); p double precision[]; points double precision[]; i int; n int; k int;
BEGIN
  IF kind IS NULL THEN
    RETURN NULL;
  ELSIF kind = 'circle' THEN
    p := sphere.unit(inner_[1], inner_[2]);
    RETURN sphere.covers(q, p[1], p[2], p[3])
      AND (array_length(inner_, 1) = 2 OR sphere.edge_distance(q, p[1], p[2], p[3]) >= radians(inner_[3]) - 1e-12);
  ELSIF kind = 'range' THEN
    points := sphere.range_points(inner_);
    FOR i IN 1..array_length(points, 1) / 2 LOOP
      IF NOT sphere.covers_position(q, points[2 * i - 1], points[2 * i]) THEN
        RETURN false;
      END IF;
    END LOOP;
    IF sphere.crosses_meridians(q, inner_) OR sphere.crosses_parallels(q, inner_) THEN
      RETURN false;
    END IF;
    n := q[1];
    FOR i IN 1..n LOOP  -- no corner of the polygon stands inside the range
      k := 9 + 7 * i; p := ARRAY[degrees(atan2(q[k + 1], q[k])), degrees(atan2(q[k + 2], sqrt(power(q[k], 2) + power(q[k + 1], 2))))];
      IF sphere.in_range(p[1], p[2], inner_[1], inner_[2], inner_[3], inner_[4]) AND sphere.range_distance(inner_, p[1], p[2]) > 6e-11 THEN
        RETURN false;
      END IF;
    END LOOP;
    RETURN true;
  END IF;
  p := sphere.prepare(inner_);
  IF p IS NULL OR q IS NULL THEN
    RETURN NULL;
  ELSIF NOT sphere.covers_vertices(q, p, 2) OR sphere.edges_cross(p, q) THEN
    RETURN false;
  END IF;
  n := q[1];
  FOR i IN 1..n LOOP  -- no corner of the outer one stands inside the inner one
    k := 9 + 7 * i;
    IF sphere.covers(p, q[k], q[k + 1], q[k + 2]) AND sphere.edge_distance(p, q[k], q[k + 1], q[k + 2]) > 1e-12 THEN
      RETURN false;
    END IF;
  END LOOP;
  RETURN true;
END
$$
----
CREATE OR REPLACE FUNCTION sphere.contains(inner_ double precision[], outer_ double precision[])
RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 500 AS $$
DECLARE
  kind text := sphere.kind(outer_);
BEGIN
  IF kind IS NULL OR sphere.kind(inner_) IS NULL THEN
    RETURN NULL;
  ELSIF kind = 'circle' THEN
    RETURN sphere.circle_contains(outer_, inner_);
  ELSIF kind = 'range' THEN
    RETURN sphere.range_contains(outer_, inner_);
  END IF;
  RETURN sphere.polygon_contains(sphere.prepare(outer_), inner_);
END
$$
----
CREATE OR REPLACE FUNCTION sphere.polygon_intersects(q double precision[], other double precision[])
RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 500 AS $$
DECLARE
  kind text := sphere.kind(other); p double precision[]; points double precision[]; i int; n int; k int;
BEGIN
  IF kind IS NULL THEN
    RETURN NULL;
  ELSIF kind = 'circle' THEN
    p := sphere.unit(other[1], other[2]);
    RETURN sphere.covers(q, p[1], p[2], p[3])
      OR (array_length(other, 1) = 3 AND sphere.edge_distance(q, p[1], p[2], p[3]) <= radians(other[3]) + 1e-12);
  ELSIF kind = 'polygon' THEN
    p := sphere.prepare(other);
    -- Two circles around them that stay apart answer for most pairs.
    IF p IS NULL OR q IS NULL THEN
      RETURN NULL;
    ELSIF p[5] < 5 AND q[5] < 5 AND sqrt(power(p[2] - q[2], 2) + power(p[3] - q[3], 2) + power(p[4] - q[4], 2))
        > 1.0001 * 1.5708 * (sqrt(p[5]) + sqrt(q[5])) THEN
      RETURN false;
    END IF;
    RETURN sphere.covers_vertices(p, q, 0) OR sphere.covers_vertices(q, p, 0) OR sphere.edges_cross(p, q);
  END IF;
  points := sphere.range_points(other);
  FOR i IN 1..array_length(points, 1) / 2 LOOP
    IF sphere.covers_position(q, points[2 * i - 1], points[2 * i]) THEN
      RETURN true;
    END IF;
  END LOOP;
  n := q[1];
  FOR i IN 1..n LOOP
    k := 9 + 7 * i;
    IF sphere.in_range(degrees(atan2(q[k + 1], q[k])), degrees(atan2(q[k + 2], sqrt(power(q[k], 2) + power(q[k + 1], 2)))),
        other[1], other[2], other[3], other[4]) THEN
      RETURN true;
    END IF;
  END LOOP;
  RETURN sphere.crosses_meridians(q, other) OR sphere.crosses_parallels(q, other);
END
$$
----
CREATE OR REPLACE FUNCTION sphere.range_intersects(r double precision[], other double precision[])
RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 500 AS $$
DECLARE
  kind text := sphere.kind(other);
BEGIN
  IF kind = 'circle' THEN
    RETURN sphere.in_range(other[1], other[2], r[1], r[2], r[3], r[4])
      OR (array_length(other, 1) = 3 AND sphere.range_distance(r, other[1], other[2]) <= other[3] + 6e-11);
  ELSIF kind = 'polygon' THEN
    RETURN sphere.polygon_intersects(sphere.prepare(other), r);
  END IF;
  RETURN r[3] <= other[4] AND other[3] <= r[4] AND (r[2] - r[1] >= 360 OR other[2] - other[1] >= 360
    OR least(r[4], other[4]) >= 90 OR greatest(r[3], other[3]) <= -90
    OR sphere.wrapped(other[1] - r[1]) <= sphere.wrapped(r[2] - r[1]) OR sphere.wrapped(r[1] - other[1]) <= sphere.wrapped(other[2] - other[1]));
END
$$
----
CREATE OR REPLACE FUNCTION sphere.intersects(a double precision[], b double precision[])
RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 500 AS $$
DECLARE
  ka text := sphere.kind(a); kb text := sphere.kind(b);
BEGIN
  IF ka IS NULL OR kb IS NULL THEN
    RETURN NULL;
  ELSIF ka = 'polygon' THEN
    RETURN sphere.polygon_intersects(sphere.prepare(a), b);
  ELSIF kb = 'polygon' THEN
    RETURN sphere.polygon_intersects(sphere.prepare(b), a);
  ELSIF ka = 'range' THEN
    RETURN sphere.range_intersects(a, b);
  ELSIF kb = 'range' THEN
    RETURN sphere.range_intersects(b, a);
  END IF;
  RETURN sphere.separation(a[1], a[2], b[1], b[2]) <= 6e-11 + CASE WHEN array_length(a, 1) = 3 THEN a[3] ELSE 0 END
    + CASE WHEN array_length(b, 1) = 3 THEN b[3] ELSE 0 END;
END
$$
----
-- Square degrees.
CREATE OR REPLACE FUNCTION sphere.area(shape double precision[])
RETURNS double precision LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 500 AS $$
DECLARE
  kind text := sphere.kind(shape); steradian double precision;
BEGIN
  IF kind = 'circle' THEN
    steradian := CASE WHEN array_length(shape, 1) = 3 THEN 4 * pi() * power(sin(radians(least(shape[3], 180)) / 2), 2) ELSE 0 END;
  ELSIF kind = 'range' THEN
    steradian := 2 * cos(radians((shape[3] + shape[4]) / 2)) * sin(radians((shape[4] - shape[3]) / 2))
      * radians(CASE WHEN shape[2] - shape[1] >= 360 THEN 360 ELSE sphere.wrapped(shape[2] - shape[1]) END);
  ELSIF kind = 'polygon' THEN
    steradian := (sphere.prepare(shape))[14];
  END IF;
  RETURN steradian * power(180 / pi(), 2);
END
$$
----
-- The middle as [ra, dec]: of a polygon the direction of its centre of mass on the sphere, half the sum of its edges'
-- normals, each as long as its edge (the integral of the position over the area, by Stokes).
CREATE OR REPLACE FUNCTION sphere.centroid(shape double precision[])
RETURNS double precision[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 500 AS $$
DECLARE
  kind text := sphere.kind(shape); p double precision[]; k int; n int; i int; theta double precision;
  x double precision := 0; y double precision := 0; z double precision := 0;
BEGIN
  IF kind = 'circle' THEN
    RETURN ARRAY[shape[1], shape[2]];
  ELSIF kind = 'range' THEN
    theta := CASE WHEN shape[2] - shape[1] >= 360 THEN 360 ELSE sphere.wrapped(shape[2] - shape[1]) END;
    RETURN ARRAY[sphere.wrapped(shape[1] + theta / 2), (shape[3] + shape[4]) / 2];
  ELSIF kind IS NULL THEN
    RETURN NULL;
  END IF;
  p := sphere.prepare(shape); n := p[1];
  FOR i IN 1..n LOOP
    k := 9 + 7 * i; theta := 2 * asin(least(p[k + 6] / 2, 1)) * p[15];
    x := x + theta * p[k + 3]; y := y + theta * p[k + 4]; z := z + theta * p[k + 5];
  END LOOP;
  IF x * x + y * y + z * z < 1e-22 THEN  -- no area to speak of: the mean of its vertices
    x := p[2]; y := p[3]; z := p[4];
  END IF;
  RETURN ARRAY[sphere.wrapped(degrees(atan2(y, x))), degrees(atan2(z, sqrt(x * x + y * y)))];
END
$$
----
-- A polygon counter-clockwise seen from inside the sphere, where right ascension grows to the left (DALI 1.2 §3.10): its
-- inside is on the right of its edges as vectors have it. Other shapes as they are.
CREATE OR REPLACE FUNCTION sphere.normalised(shape double precision[])
RETURNS double precision[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 500 AS $$
DECLARE
  i int; n int := array_length(shape, 1); turned double precision[] := '{}';
BEGIN
  IF sphere.kind(shape) IS NULL OR (n >= 6 AND sphere.prepare(shape) IS NULL) THEN
    RETURN NULL;
  ELSIF n < 6 OR (sphere.prepare(shape))[15] < 0 THEN
    RETURN shape;
  END IF;
  FOR i IN REVERSE n / 2..1 LOOP
    turned := turned || ARRAY[shape[2 * i - 1], shape[2 * i]];
  END LOOP;
  RETURN turned;
END
$$
