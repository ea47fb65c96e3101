-- Shapes as arrays: 2 numbers are a position, 3 a circle (ra, dec, radius), 4 a coordinate range (ra_min, ra_max, dec_min,
-- dec_max), an even number from 6 a polygon. Whatever is no shape (a NULL or NaN inside, two antipodes side by side)
-- answers NULL, so that one bad row of a user's table does not end the query.
CREATE OR REPLACE FUNCTION sphere.kind(shape double precision[])
RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
DECLARE
  n int := array_length(shape, 1);
BEGIN
  IF array_position(shape, NULL) IS NOT NULL OR array_position(shape, 'NaN') IS NOT NULL THEN
    RETURN NULL;
  END IF;
  IF n = 2 THEN
    RETURN 'circle';
  ELSIF n = 3 THEN
    RETURN CASE WHEN shape[3] >= 0 THEN 'circle' END;
  ELSIF n = 4 THEN
    RETURN CASE WHEN shape[3] <= shape[4] THEN 'range' END;
  ELSIF n >= 6 AND mod(n, 2) = 0 THEN
    RETURN 'polygon';
  END IF;
  RETURN NULL;
END
$$
----
-- Degrees from a position to the nearest point of a range's boundary (infinite where it has none: the whole sky).
CREATE OR REPLACE FUNCTION sphere.range_distance(r double precision[], ra double precision, "dec" double precision)
RETURNS double precision LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
DECLARE
  everywhere boolean := r[2] - r[1] >= 360; nearest double precision := 'Infinity'; side int; foot double precision;
  d double precision := radians("dec"); delta double precision; across double precision;
BEGIN
  FOR side IN 1..2 LOOP
    IF abs(r[2 + side]) < 90 AND (everywhere OR sphere.wrapped(ra - r[1]) <= sphere.wrapped(r[2] - r[1])) THEN
      nearest := least(nearest, abs("dec" - r[2 + side]));
    END IF;
    IF NOT everywhere THEN
      delta := radians(ra - r[side]); across := cos(d) * sin(delta);
      foot := degrees(atan2(sin(d), cos(d) * cos(delta)));
      IF foot BETWEEN r[3] AND r[4] THEN
        nearest := least(nearest, degrees(atan2(abs(across), sqrt(power(sin(d), 2) + power(cos(d) * cos(delta), 2)))));
      ELSE
        nearest := least(nearest, sphere.separation(ra, "dec", r[side], r[3]), sphere.separation(ra, "dec", r[side], r[4]));
      END IF;
    END IF;
  END LOOP;
  RETURN nearest;
END
$$
----
-- Does an edge of the polygon cross one of the two meridians that bound the range, between its parallels?
CREATE OR REPLACE FUNCTION sphere.crosses_meridians(p double precision[], r double precision[])
RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 500 AS $$
DECLARE
  n int := p[1]; i int; k int; b int; side int; c double precision; s double precision; f double precision; g double precision;
  x double precision; y double precision; z double precision;
BEGIN
  IF r[2] - r[1] >= 360 THEN
    RETURN false;
  END IF;
  FOR side IN 1..2 LOOP
    c := cos(radians(r[side])); s := sin(radians(r[side]));
    FOR i IN 1..n LOOP
      k := 9 + 7 * i; b := CASE WHEN i = n THEN 16 ELSE k + 7 END;
      f := p[k + 1] * c - p[k] * s; g := p[b + 1] * c - p[b] * s;
      IF (f > 1e-12 AND g < -1e-12) OR (f < -1e-12 AND g > 1e-12) THEN
        f := abs(f); g := abs(g); x := p[k] * g + p[b] * f; y := p[k + 1] * g + p[b + 1] * f; z := p[k + 2] * g + p[b + 2] * f;
        IF x * c + y * s > 0 AND degrees(atan2(z, sqrt(x * x + y * y))) BETWEEN r[3] + 6e-11 AND r[4] - 6e-11 THEN
          RETURN true;
        END IF;
      END IF;
    END LOOP;
  END LOOP;
  RETURN false;
END
$$
----
-- Does an edge of the polygon cross one of the two parallels that bound the range, between its meridians?
CREATE OR REPLACE FUNCTION sphere.crosses_parallels(p double precision[], r double precision[])
RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 500 AS $$
DECLARE
  n int := p[1]; i int; k int; side int; turn int; width double precision := CASE WHEN r[2] - r[1] >= 360 THEN 361 ELSE sphere.wrapped(r[2] - r[1]) END;
  ax double precision; ay double precision; az double precision; x double precision; y double precision; z double precision;
  theta double precision; t double precision; phi double precision; lift double precision; z0 double precision;
BEGIN
  FOR i IN 1..n LOOP
    -- The edge is a cos t + w sin t, 0 < t < theta, with w = normal x a; its height is lift cos(t - phi).
    k := 9 + 7 * i; ax := p[k]; ay := p[k + 1]; az := p[k + 2];
    x := p[k + 4] * az - p[k + 5] * ay; y := p[k + 5] * ax - p[k + 3] * az; z := p[k + 3] * ay - p[k + 4] * ax;
    theta := 2 * asin(least(p[k + 6] / 2, 1)); lift := sqrt(az * az + z * z); phi := atan2(z, az);
    FOR side IN 3..4 LOOP
      z0 := sin(radians(r[side]));
      IF abs(r[side]) < 90 AND lift > abs(z0) THEN
        FOR turn IN 0..1 LOOP
          t := phi + (2 * turn - 1) * atan2(sqrt((lift - z0) * (lift + z0)), z0);
          t := t - 2 * pi() * floor(t / (2 * pi()));
          IF t > 1e-12 AND t < theta - 1e-12 AND sphere.wrapped(degrees(atan2(ay * cos(t) + y * sin(t), ax * cos(t) + x * sin(t))) - r[1])
              BETWEEN 6e-11 AND width - 6e-11 THEN
            RETURN true;
          END IF;
        END LOOP;
      END IF;
    END LOOP;
  END LOOP;
  RETURN false;
END
$$
----
-- The range's corners, the middles of its sides and its centre as positions (ra, dec, ra, dec, ...); the centre is last.
CREATE OR REPLACE FUNCTION sphere.range_points(r double precision[])
RETURNS double precision[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
DECLARE
  width double precision := CASE WHEN r[2] - r[1] >= 360 THEN 360 ELSE sphere.wrapped(r[2] - r[1]) END; i int;
  points double precision[] := '{}';
BEGIN
  FOR i IN 0..4 LOOP
    points := points || ARRAY[r[1] + width * i / 4, r[3], r[1] + width * i / 4, r[4]];
  END LOOP;
  RETURN points || ARRAY[r[1], (r[3] + r[4]) / 2, r[2], (r[3] + r[4]) / 2, r[1] + width / 2, (r[3] + r[4]) / 2];
END
$$
----
CREATE OR REPLACE FUNCTION sphere.covers_position(p double precision[], ra double precision, "dec" double precision)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
BEGIN
  RETURN sphere.covers(p, cos(radians("dec")) * cos(radians(ra)), cos(radians("dec")) * sin(radians(ra)), sin(radians("dec")));
END
$$
----
-- The lowest and highest declination of a prepared polygon, degrees: of its edges, and the poles that it covers.
CREATE OR REPLACE FUNCTION sphere.dec_limits(p double precision[])
RETURNS double precision[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
DECLARE
  n int := p[1]; i int; k int; b int; low double precision := 90; high double precision := -90; dec1 double precision; apex double precision;
BEGIN
  FOR i IN 1..n LOOP
    k := 9 + 7 * i; b := CASE WHEN i = n THEN 16 ELSE k + 7 END;
    dec1 := degrees(atan2(p[k + 2], sqrt(power(p[k], 2) + power(p[k + 1], 2))));
    low := least(low, dec1); high := greatest(high, dec1);
    -- Heights at both ends bend towards the middle: the great circle's highest or lowest point lies between them.
    apex := degrees(atan2(sqrt(power(p[k + 3], 2) + power(p[k + 4], 2)), abs(p[k + 5])));
    dec1 := p[k + 3] * p[k + 1] - p[k + 4] * p[k]; -- rise at the first vertex: (normal x a)_z
    IF dec1 > 0 AND p[k + 3] * p[b + 1] - p[k + 4] * p[b] < 0 THEN
      high := greatest(high, apex);
    ELSIF dec1 < 0 AND p[k + 3] * p[b + 1] - p[k + 4] * p[b] > 0 THEN
      low := least(low, -apex);
    END IF;
  END LOOP;
  -- Only the circle around it decides whether a pole can be inside at all.
  IF 2 - 2 * p[4] <= p[5] AND sphere.covers(p, 0, 0, 1) THEN
    high := 90;
  END IF;
  IF 2 + 2 * p[4] <= p[5] AND sphere.covers(p, 0, 0, -1) THEN
    low := -90;
  END IF;
  RETURN ARRAY[low, high];
END
$$
----
-- What encloses the shape in coordinates: ra_min (0 <= ra_min < 360), ra_max (up to ra_min + 360), dec_min, dec_max; a
-- little wider than true. What reaches a pole has every right ascension. The indexes are built on this.
CREATE OR REPLACE FUNCTION sphere.bounds(shape double precision[])
RETURNS double precision[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 500 AS $$
DECLARE
  kind text := sphere.kind(shape); n int := array_length(shape, 1); i int; p double precision[]; r double precision; half double precision;
  ra double precision; decl double precision; low double precision; high double precision; left_ double precision; right_ double precision;
  limits double precision[];
BEGIN
  IF kind IS NULL THEN
    RETURN NULL;
  ELSIF kind = 'circle' THEN
    ra := shape[1]; decl := shape[2]; r := CASE WHEN n = 3 THEN shape[3] ELSE 0 END;
    low := decl - r; high := decl + r;
    IF low > -90 AND high < 90 THEN
      half := degrees(asin(least(sin(radians(r)) / cos(radians(decl)), 1)));
    END IF;
    left_ := -half; right_ := half;
  ELSIF kind = 'range' THEN
    ra := shape[1]; low := shape[3]; high := shape[4];
    left_ := 0; right_ := CASE WHEN shape[2] - shape[1] >= 360 THEN 360 ELSE sphere.wrapped(shape[2] - shape[1]) END;
    IF low <= -90 OR high >= 90 THEN
      right_ := NULL;
    END IF;
  ELSE
    p := sphere.prepare(shape);
    IF p IS NULL THEN
      RETURN NULL;
    END IF;
    ra := degrees(atan2(p[3], p[2])); decl := degrees(atan2(p[4], sqrt(power(p[2], 2) + power(p[3], 2))));
    r := CASE WHEN p[5] = 5 THEN 180 ELSE degrees(2 * asin(least(sqrt(p[5]) / 2, 1))) END;
    IF p[5] = 5 THEN
      low := -90; high := 90;
    ELSE
      limits := sphere.dec_limits(p); low := limits[1]; high := limits[2];
    END IF;
    IF decl - r > -90 AND decl + r < 90 THEN
      -- The circle around it is clear of the poles: along an edge right ascension goes one way, so vertices bound it.
      left_ := 0; right_ := 0;
      FOR i IN 1..n / 2 LOOP
        half := sphere.wrapped(shape[2 * i - 1] - ra + 180) - 180;
        left_ := least(left_, half); right_ := greatest(right_, half);
      END LOOP;
    END IF;
  END IF;
  low := low - 1e-8; high := high + 1e-8;
  IF left_ IS NULL OR right_ IS NULL OR right_ - left_ > 359.9 THEN
    RETURN ARRAY[0, 360, low, high];
  END IF;
  -- Wider by what the padding in declination is worth there.
  half := 2e-8 / greatest(cos(radians(greatest(abs(low), abs(high)))), 1e-9);
  IF half > 1 THEN
    RETURN ARRAY[0, 360, low, high];
  END IF;
  left_ := ra + left_ - half; right_ := ra + right_ + half;
  RETURN ARRAY[sphere.wrapped(left_), sphere.wrapped(left_) + (right_ - left_), low, high];
END
$$
