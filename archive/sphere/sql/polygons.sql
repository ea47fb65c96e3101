-- Polygons of great-circle edges, by vectors. The side of smaller area is the inside, whatever the winding.
-- A prepared polygon is a flat array, so that the planner can compute it once where the polygon is constant:
--   [1] edges; [2..4] centre c; [5] squared chord from c that no vertex exceeds (5: further than 80 degrees);
--   [6..8] an anchor and [9] whether it is inside (1 or 0); [10..12] and [13] another, far from the first and its antipode;
--   [14] area, steradian; [15] 1 when the inside is on the left of the edges, else -1;
--   then per edge 7 numbers: its first vertex, the unit normal (first x second), the chord's length.
-- Differences of vectors are taken before products: an edge of 0.1 arcsec then keeps its direction to 1e-9.
CREATE OR REPLACE FUNCTION sphere.prepare(shape double precision[])
RETURNS double precision[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 500 AS $$
DECLARE
  prepared double precision[];
  v double precision[] := '{}';
  size int := array_length(shape, 1); n int := 0; i int; j int;
  ax double precision; ay double precision; az double precision; ux double precision; uy double precision; uz double precision;
  nx double precision; ny double precision; nz double precision; norm double precision; chord double precision;
  cx double precision := 0; cy double precision := 0; cz double precision := 0; reach double precision := 0;
  excess double precision := 0; ra double precision; decl double precision;
BEGIN
  IF size < 6 OR mod(size, 2) = 1 OR array_position(shape, NULL) IS NOT NULL OR array_position(shape, 'NaN') IS NOT NULL THEN
    RETURN NULL;
  END IF;
  FOR i IN 1..size / 2 LOOP
    ra := radians(shape[2 * i - 1]); decl := radians(shape[2 * i]);
    ax := cos(decl) * cos(ra); ay := cos(decl) * sin(ra); az := sin(decl);
    -- A vertex written twice, or a polygon closed explicitly, makes no edge.
    IF n = 0 OR power(ax - ux, 2) + power(ay - uy, 2) + power(az - uz, 2) > 1e-26 THEN
      v[3 * n + 1] := ax; v[3 * n + 2] := ay; v[3 * n + 3] := az;
      n := n + 1; cx := cx + ax; cy := cy + ay; cz := cz + az; ux := ax; uy := ay; uz := az;
    END IF;
  END LOOP;
  IF n > 1 AND power(ux - v[1], 2) + power(uy - v[2], 2) + power(uz - v[3], 2) <= 1e-26 THEN
    n := n - 1; cx := cx - ux; cy := cy - uy; cz := cz - uz;
  END IF;
  norm := sqrt(cx * cx + cy * cy + cz * cz);
  IF norm > 1e-6 THEN
    cx := cx / norm; cy := cy / norm; cz := cz / norm;
  ELSE
    cx := 0.48; cy := 0.6; cz := 0.64;  -- vertices all round the sky: any direction serves
  END IF;
  prepared := ARRAY[n, cx, cy, cz, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  FOR i IN 0..n - 1 LOOP
    j := CASE WHEN i = n - 1 THEN 0 ELSE 3 * i + 3 END;
    ax := v[3 * i + 1]; ay := v[3 * i + 2]; az := v[3 * i + 3]; ux := v[j + 1]; uy := v[j + 2]; uz := v[j + 3];
    nx := ((ay - uy) * (az + uz) - (az - uz) * (ay + uy)) / 2;
    ny := ((az - uz) * (ax + ux) - (ax - ux) * (az + uz)) / 2;
    nz := ((ax - ux) * (ay + uy) - (ay - uy) * (ax + ux)) / 2;
    norm := sqrt(nx * nx + ny * ny + nz * nz);
    chord := sqrt(power(ax - ux, 2) + power(ay - uy, 2) + power(az - uz, 2));
    IF power(ax + ux, 2) + power(ay + uy, 2) + power(az + uz, 2) < 1e-18 THEN
      RETURN NULL;  -- no great circle is named by two antipodes
    END IF;
    IF norm > 0 THEN
      nx := nx / norm; ny := ny / norm; nz := nz / norm;
    END IF;
    prepared[16 + 7 * i] := ax; prepared[17 + 7 * i] := ay; prepared[18 + 7 * i] := az;
    prepared[19 + 7 * i] := nx; prepared[20 + 7 * i] := ny; prepared[21 + 7 * i] := nz; prepared[22 + 7 * i] := chord;
    reach := greatest(reach, power(ax - cx, 2) + power(ay - cy, 2) + power(az - cz, 2));
    -- Signed excess of the triangle c, a, b (van Oosterom and Strackee 1983).
    excess := excess + 2 * atan2(
      cx * ((ay - cy) * (uz - cz) - (az - cz) * (uy - cy)) + cy * ((az - cz) * (ux - cx) - (ax - cx) * (uz - cz))
        + cz * ((ax - cx) * (uy - cy) - (ay - cy) * (ux - cx)),
      1 + cx * ax + cy * ay + cz * az + ax * ux + ay * uy + az * uz + cx * ux + cy * uy + cz * uz);
  END LOOP;
  -- To -2 pi .. 2 pi, where a small area of either sign keeps its digits.
  excess := excess - 4 * pi() * round(excess / (4 * pi()));
  prepared[14] := abs(excess);
  prepared[15] := CASE WHEN excess >= 0 THEN 1 ELSE -1 END;
  IF reach > 1.6527 THEN
    RETURN sphere.anchored(prepared);
  END IF;
  prepared[5] := power(sqrt(reach) + 1e-11, 2);
  -- All within 80 degrees of c: what lies 90 degrees from c is outside.
  IF abs(cz) < 0.8 THEN
    norm := sqrt(1 - cz * cz); prepared[6] := -cz * cx / norm; prepared[7] := -cz * cy / norm; prepared[8] := norm;
  ELSE
    norm := sqrt(1 - cx * cx); prepared[6] := norm; prepared[7] := -cx * cy / norm; prepared[8] := -cx * cz / norm;
  END IF;
  RETURN prepared;
END
$$
----
-- Of a polygon that spans the sky: two anchors as far from every edge's great circle crossing as fourteen tries give.
CREATE OR REPLACE FUNCTION sphere.anchored(prepared double precision[])
RETURNS double precision[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 500 AS $$
DECLARE
  tries double precision[] := ARRAY[0.31, 0.11, 0.94, 0.94, 0.31, -0.11, -0.11, 0.94, 0.31, -0.31, -0.11, -0.94, -0.94, -0.31,
    0.11, 0.11, -0.94, -0.31, 0.6, 0.56, 0.57, 0.6, -0.56, 0.57, -0.6, 0.56, 0.57, -0.6, -0.56, 0.57, 0.6, 0.56, -0.57, 0.6, -0.56,
    -0.57, -0.6, 0.56, -0.57, -0.6, -0.56, -0.57];
  t int; slot int; taken int := 0; d double precision; best double precision; chosen int; norm double precision;
  x double precision; y double precision; z double precision;
BEGIN
  FOR slot IN 0..1 LOOP
    best := -1;
    FOR t IN 1..14 LOOP
      norm := sqrt(power(tries[3 * t - 2], 2) + power(tries[3 * t - 1], 2) + power(tries[3 * t], 2));
      x := tries[3 * t - 2] / norm; y := tries[3 * t - 1] / norm; z := tries[3 * t] / norm;
      IF slot = 1 AND abs(x * prepared[6] + y * prepared[7] + z * prepared[8]) > 0.7 THEN
        CONTINUE;
      END IF;
      d := sphere.edge_distance(prepared, x, y, z);
      IF d > best THEN
        best := d; chosen := t;
        prepared[6 + 4 * slot] := x; prepared[7 + 4 * slot] := y; prepared[8 + 4 * slot] := z;
      END IF;
    END LOOP;
    prepared[9 + 4 * slot] := CASE WHEN sphere.anchor_inside(prepared, prepared[6 + 4 * slot], prepared[7 + 4 * slot], prepared[8 + 4 * slot]) THEN 1 ELSE 0 END;
  END LOOP;
  RETURN prepared;
END
$$
----
-- Whether q is inside, told from the winding: walk from q to the middle of an edge and see from which side it is reached.
CREATE OR REPLACE FUNCTION sphere.anchor_inside(prepared double precision[], qx double precision, qy double precision, qz double precision)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 500 AS $$
DECLARE
  n int := prepared[1]; i int; k int; b int; edge int := 0; steepest double precision := -1; d double precision;
  mx double precision; my double precision; mz double precision; nx double precision; ny double precision; nz double precision;
  first double precision; second double precision; inside boolean;
BEGIN
  FOR i IN 0..n - 1 LOOP
    k := 16 + 7 * i;
    d := abs(prepared[k + 3] * qx + prepared[k + 4] * qy + prepared[k + 5] * qz);
    IF d > steepest THEN
      steepest := d; edge := i;
    END IF;
  END LOOP;
  k := 16 + 7 * edge; b := CASE WHEN edge = n - 1 THEN 16 ELSE k + 7 END;
  mx := prepared[k] + prepared[b]; my := prepared[k + 1] + prepared[b + 1]; mz := prepared[k + 2] + prepared[b + 2];
  d := sqrt(mx * mx + my * my + mz * mz); mx := mx / d; my := my / d; mz := mz / d;
  inside := (prepared[k + 3] * qx + prepared[k + 4] * qy + prepared[k + 5] * qz > 0) = (prepared[15] > 0);
  nx := qy * mz - qz * my; ny := qz * mx - qx * mz; nz := qx * my - qy * mx;
  FOR i IN 0..n - 1 LOOP
    k := 16 + 7 * i; b := CASE WHEN i = n - 1 THEN 16 ELSE k + 7 END;
    first := nx * prepared[k] + ny * prepared[k + 1] + nz * prepared[k + 2];
    second := nx * prepared[b] + ny * prepared[b + 1] + nz * prepared[b + 2];
    IF i <> edge AND (first >= 0) <> (second >= 0) THEN
      d := prepared[k + 3] * qx + prepared[k + 4] * qy + prepared[k + 5] * qz;
      second := prepared[k + 3] * mx + prepared[k + 4] * my + prepared[k + 5] * mz;
      IF (first >= 0 AND d < 0 AND second > 0) OR (first < 0 AND d > 0 AND second < 0) THEN
        inside := NOT inside;
      END IF;
    END IF;
  END LOOP;
  RETURN inside;
END
$$
----
-- Is the unit vector p in the polygon, boundary included? Crossings of the arc from p to an anchor are counted; a vertex
-- on that arc counts to the left (half-open), so that its two edges are never both taken or both left out.
CREATE OR REPLACE FUNCTION sphere.covers(prepared double precision[], px double precision, py double precision, pz double precision)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 500 AS $$
DECLARE
  n int := prepared[1]; k int := 16; b int; a int := 6; i int;
  qx double precision; qy double precision; qz double precision; nx double precision; ny double precision; nz double precision;
  first double precision; second double precision; d double precision; inside boolean;
BEGIN
  IF power(px - prepared[2], 2) + power(py - prepared[3], 2) + power(pz - prepared[4], 2) > prepared[5] THEN
    RETURN false;
  END IF;
  IF prepared[5] = 5 AND abs(px * prepared[6] + py * prepared[7] + pz * prepared[8]) > 0.95 THEN
    a := 10;
  END IF;
  qx := prepared[a]; qy := prepared[a + 1]; qz := prepared[a + 2]; inside := prepared[a + 3] = 1;
  nx := py * qz - pz * qy; ny := pz * qx - px * qz; nz := px * qy - py * qx;
  first := nx * prepared[16] + ny * prepared[17] + nz * prepared[18];
  FOR i IN 1..n LOOP
    b := CASE WHEN i = n THEN 16 ELSE k + 7 END;
    second := nx * prepared[b] + ny * prepared[b + 1] + nz * prepared[b + 2];
    d := prepared[k + 3] * px + prepared[k + 4] * py + prepared[k + 5] * pz;
    -- On the edge: on its great circle, and seeing its ends under an obtuse angle.
    IF abs(d) <= 1e-12 AND (prepared[k] - px) * (prepared[b] - px) + (prepared[k + 1] - py) * (prepared[b + 1] - py)
        + (prepared[k + 2] - pz) * (prepared[b + 2] - pz) <= 1e-12 * prepared[k + 6] + 1e-24 THEN
      RETURN true;
    END IF;
    IF (first >= 0) <> (second >= 0) AND ((first >= 0) = (d < 0))
        AND ((first >= 0) = (prepared[k + 3] * qx + prepared[k + 4] * qy + prepared[k + 5] * qz > 0)) THEN
      inside := NOT inside;
    END IF;
    first := second; k := k + 7;
  END LOOP;
  RETURN inside;
END
$$
----
CREATE OR REPLACE FUNCTION sphere.in_polygon(prepared double precision[], ra double precision, "dec" double precision)
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT sphere.covers(prepared, cos(radians("dec")) * cos(radians(ra)), cos(radians("dec")) * sin(radians(ra)), sin(radians("dec")))
$$
----
-- The distance in radians from the unit vector p to the nearest point of any edge.
CREATE OR REPLACE FUNCTION sphere.edge_distance(prepared double precision[], px double precision, py double precision, pz double precision)
RETURNS double precision LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 500 AS $$
DECLARE
  n int := prepared[1]; k int := 16; b int; i int;
  ax double precision; ay double precision; az double precision; nx double precision; ny double precision; nz double precision;
  dx double precision; dy double precision; dz double precision; s double precision; chord double precision := 5; nearest double precision := 5;
BEGIN
  FOR i IN 1..n LOOP
    b := CASE WHEN i = n THEN 16 ELSE k + 7 END;
    ax := prepared[k]; ay := prepared[k + 1]; az := prepared[k + 2];
    nx := prepared[k + 3]; ny := prepared[k + 4]; nz := prepared[k + 5];
    dx := px - ax; dy := py - ay; dz := pz - az;
    chord := least(chord, dx * dx + dy * dy + dz * dz);
    -- Along the edge, past its first vertex and before its second?
    IF (ny * az - nz * ay) * dx + (nz * ax - nx * az) * dy + (nx * ay - ny * ax) * dz > 0 THEN
      ax := prepared[b]; ay := prepared[b + 1]; az := prepared[b + 2];
      IF (ny * az - nz * ay) * (px - ax) + (nz * ax - nx * az) * (py - ay) + (nx * ay - ny * ax) * (pz - az) < 0 THEN
        s := nx * px + ny * py + nz * pz;
        nearest := least(nearest, atan2(abs(s), sqrt(power(px - s * nx, 2) + power(py - s * ny, 2) + power(pz - s * nz, 2))));
      END IF;
    END IF;
    k := k + 7;
  END LOOP;
  RETURN least(nearest, 2 * atan2(sqrt(chord), sqrt(greatest(4 - chord, 0))));
END
$$
----
-- Do edges of two polygons cross properly, each ending clear of the other's great circle?
CREATE OR REPLACE FUNCTION sphere.edges_cross(p double precision[], q double precision[])
RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 500 AS $$
DECLARE
  i int; j int; k int; m int; kb int; mb int; np int := p[1]; nq int := q[1];
  a double precision; b double precision; c double precision; d double precision;
BEGIN
  FOR i IN 1..np LOOP
    k := 9 + 7 * i; kb := CASE WHEN i = np THEN 16 ELSE k + 7 END;
    FOR j IN 1..nq LOOP
      m := 9 + 7 * j;
      a := q[m + 3] * p[k] + q[m + 4] * p[k + 1] + q[m + 5] * p[k + 2];
      b := q[m + 3] * p[kb] + q[m + 4] * p[kb + 1] + q[m + 5] * p[kb + 2];
      IF (a > 1e-12 AND b < -1e-12) OR (a < -1e-12 AND b > 1e-12) THEN
        mb := CASE WHEN j = nq THEN 16 ELSE m + 7 END;
        c := p[k + 3] * q[m] + p[k + 4] * q[m + 1] + p[k + 5] * q[m + 2];
        d := p[k + 3] * q[mb] + p[k + 4] * q[mb + 1] + p[k + 5] * q[mb + 2];
        -- Opposite signs on both sides, and on this side of the sky, not at the antipode.
        IF (a > 0 AND c < -1e-12 AND d > 1e-12) OR (a < 0 AND c > 1e-12 AND d < -1e-12) THEN
          RETURN true;
        END IF;
      END IF;
    END LOOP;
  END LOOP;
  RETURN false;
END
$$
----
-- Does q cover every vertex (1), some vertex (0) or every vertex and the middle of every edge (2) of p?
CREATE OR REPLACE FUNCTION sphere.covers_vertices(q double precision[], p double precision[], demand int)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 500 AS $$
DECLARE
  i int; k int; b int; n int := p[1]; norm double precision;
BEGIN
  FOR i IN 1..n LOOP
    k := 9 + 7 * i;
    IF sphere.covers(q, p[k], p[k + 1], p[k + 2]) <> (demand > 0) THEN
      RETURN demand = 0;
    END IF;
    IF demand = 2 THEN
      b := CASE WHEN i = n THEN 16 ELSE k + 7 END;
      norm := sqrt(power(p[k] + p[b], 2) + power(p[k + 1] + p[b + 1], 2) + power(p[k + 2] + p[b + 2], 2));
      IF NOT sphere.covers(q, (p[k] + p[b]) / norm, (p[k + 1] + p[b + 1]) / norm, (p[k + 2] + p[b + 2]) / norm) THEN
        RETURN false;
      END IF;
    END IF;
  END LOOP;
  RETURN demand > 0;
END
$$
