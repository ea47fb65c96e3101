-- HEALPix cells, NESTED, after Gorski et al. 2005 (ApJ 622, 759): 12 faces of 4^order cells, order 0 to 29. What is no
-- order, no cell or no position answers NULL.
-- The bits of an integer below 2^32 moved apart, a zero between any two.
CREATE OR REPLACE FUNCTION sphere.spread_bits(v bigint)
RETURNS bigint LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
BEGIN
  v := (v | (v << 16)) & 281470681808895;
  v := (v | (v << 8)) & 71777214294589695;
  v := (v | (v << 4)) & 1085102592571150095;
  v := (v | (v << 2)) & 3689348814741910323;
  RETURN (v | (v << 1)) & 6148914691236517205;
END
$$
----
-- The even bits of an integer moved together: spread_bits undone.
CREATE OR REPLACE FUNCTION sphere.gather_bits(v bigint)
RETURNS bigint LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
BEGIN
  v := v & 6148914691236517205;
  v := (v | (v >> 1)) & 3689348814741910323;
  v := (v | (v >> 2)) & 1085102592571150095;
  v := (v | (v >> 4)) & 71777214294589695;
  v := (v | (v >> 8)) & 281470681808895;
  RETURN (v | (v >> 16)) & 4294967295;
END
$$
----
-- The cell that a position lies in.
CREATE OR REPLACE FUNCTION sphere.healpix(cell_order integer, ra double precision, "dec" double precision)
RETURNS bigint LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 100 AS $$
DECLARE
  z double precision; side bigint; turn double precision; a double precision; b double precision; x bigint; y bigint;
  face bigint; quarter integer;
BEGIN
  IF cell_order < 0 OR cell_order > 29 OR NOT ("dec" BETWEEN -90 AND 90) OR ra = 'NaN' OR abs(ra) = 'Infinity' THEN
    RETURN NULL;
  END IF;
  z := sin(radians("dec")); side := 1::bigint << cell_order; turn := (ra - 360 * floor(ra / 360)) / 90;
  IF turn >= 4 THEN
    turn := 0;  -- -1e-20 is brought to 360 by rounding
  END IF;
  IF abs(z) <= 2 / 3::double precision THEN
    a := side * (0.5 + turn); b := side * z * 0.75;
    x := floor(a + b)::bigint; y := floor(a - b)::bigint;
    IF x >> cell_order = y >> cell_order THEN
      face := (x >> cell_order) | 4;
    ELSIF y >> cell_order < x >> cell_order THEN
      face := y >> cell_order;
    ELSE
      face := (x >> cell_order) + 8;
    END IF;
    x := x & (side - 1); y := side - (y & (side - 1)) - 1;
  ELSE
    quarter := least(3, floor(turn)); turn := turn - quarter;
    -- Near the poles by the cosine of the declination, which keeps its digits there.
    a := side * CASE WHEN abs(z) < 0.99 THEN sqrt(3 * (1 - abs(z))) ELSE cos(radians("dec")) / sqrt((1 + abs(z)) / 3) END;
    x := least(side - 1, floor(turn * a)::bigint); y := least(side - 1, floor((1 - turn) * a)::bigint);
    IF z >= 0 THEN
      face := quarter; b := x; x := side - y - 1; y := side - b::bigint - 1;
    ELSE
      face := quarter + 8;
    END IF;
  END IF;
  RETURN (face << (2 * cell_order)) | sphere.spread_bits(x) | (sphere.spread_bits(y) << 1);
END
$$
----
-- The centre of a cell as [ra, dec].
CREATE OR REPLACE FUNCTION sphere.healpix_center(cell_order integer, cell bigint)
RETURNS double precision[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 100 AS $$
DECLARE
  side bigint; face integer; x bigint; y bigint; ring bigint; n bigint; along bigint; t double precision; z double precision;
BEGIN
  IF cell_order < 0 OR cell_order > 29 OR cell < 0 OR cell >= 12::bigint << (2 * cell_order) THEN
    RETURN NULL;
  END IF;
  side := 1::bigint << cell_order; face := cell >> (2 * cell_order);
  x := sphere.gather_bits(cell & (side * side - 1)); y := sphere.gather_bits((cell & (side * side - 1)) >> 1);
  ring := ((face / 4 + 2)::bigint << cell_order) - x - y - 1;
  n := least(ring, side, 4 * side - ring);
  -- Eighths of a turn to the middle of the face.
  along := (CASE WHEN face / 4 = 1 THEN 2 * mod(face, 4) ELSE 2 * mod(face, 4) + 1 END) * n + x - y;
  along := CASE WHEN along < 0 THEN along + 8 * n ELSE along END;
  IF n = side THEN
    z := (2 * side - ring) * 2 / (3 * side::double precision);
    t := 1 - z;
  ELSE
    t := (n::double precision / side) ^ 2 / 3;  -- 1 - |z|, of which the sine keeps its digits
    z := CASE WHEN ring < side THEN 1 - t ELSE t - 1 END;
  END IF;
  RETURN ARRAY[45 * along / n::double precision, degrees(atan2(z, sqrt(t * (2 - t))))];
END
$$
