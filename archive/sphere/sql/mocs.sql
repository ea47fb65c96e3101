-- Coverage maps (MOC 2.0) as int8multirange of cells of order 29: union, intersection and containment are PostgreSQL's.
-- Degrees from the centre of a cell to its farthest corner, a little more than true (healpy.max_pixrad says 48.19 for
-- order 0 and grows towards 61.25 / 2^order).
CREATE OR REPLACE FUNCTION sphere.cell_radius(cell_order integer)
RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT least(48.2, 61.3 / (1::bigint << cell_order))
$$
----
CREATE OR REPLACE FUNCTION sphere.cell_range(cell_order integer, cell bigint)
RETURNS int8range LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT int8range(cell << (2 * (29 - cell_order)), (cell + 1) << (2 * (29 - cell_order)))
$$
----
-- From text as MOC 2.0 §4.3.2 has it, "6/3-7 9 8/5"; NULL if it is none.
CREATE OR REPLACE FUNCTION sphere.moc(ascii text)
RETURNS int8multirange LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 200 AS $$
DECLARE
  word text; parts text[]; cell_order integer; low bigint; high bigint; ranges int8range[] := '{}';
BEGIN
  FOREACH word IN ARRAY regexp_split_to_array(btrim(regexp_replace(ascii, '/\s+', '/', 'g'), E' \t\r\n,'), '[\s,]+') LOOP
    CONTINUE WHEN word = '';
    parts := regexp_match(word, '^s?(?:(\d{1,2})/)?(?:(\d{1,19})(?:-(\d{1,19}))?)?$');
    cell_order := coalesce(parts[1]::integer, cell_order);
    IF parts IS NULL OR cell_order IS NULL OR cell_order > 29 THEN
      RETURN NULL;
    END IF;
    CONTINUE WHEN parts[2] IS NULL;
    IF parts[2]::numeric > coalesce(parts[3], parts[2])::numeric
        OR coalesce(parts[3], parts[2])::numeric >= 12::bigint << (2 * cell_order) THEN
      RETURN NULL;
    END IF;
    low := parts[2]::bigint; high := coalesce(parts[3], parts[2])::bigint;
    ranges := ranges || int8range(low << (2 * (29 - cell_order)), (high + 1) << (2 * (29 - cell_order)));
  END LOOP;
  RETURN coalesce((SELECT range_agg(one) FROM unnest(ranges) AS one), '{}'::int8multirange);
END
$$
----
-- As text, of the fewest cells.
CREATE OR REPLACE FUNCTION sphere.moc_text(moc int8multirange)
RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 1000 AS $$
DECLARE
  one int8range; low bigint; size bigint; k integer; found text := '';
  orders integer[] := '{}'; cells bigint[] := '{}';
  row_ record;
BEGIN
  FOR one IN SELECT unnest(moc) LOOP
    low := lower(one);
    WHILE low < upper(one) LOOP
      k := 0; size := 1::bigint << 58;
      WHILE mod(low, size) <> 0 OR low + size > upper(one) LOOP
        k := k + 1; size := size >> 2;
      END LOOP;
      orders := orders || k; cells := cells || low / size;
      low := low + size;
    END LOOP;
  END LOOP;
  FOR row_ IN
    SELECT o, string_agg(CASE WHEN least_ = most THEN least_::text ELSE least_ || '-' || most END, ' ' ORDER BY least_) AS listed
    FROM (SELECT o, min(c) AS least_, max(c) AS most
          FROM (SELECT o, c, c - row_number() OVER (PARTITION BY o ORDER BY c) AS run FROM unnest(orders, cells) AS u(o, c)) numbered
          GROUP BY o, run) runs
    GROUP BY o ORDER BY o
  LOOP
    found := found || CASE WHEN found = '' THEN '' ELSE ' ' END || row_.o || '/' || row_.listed;
  END LOOP;
  RETURN found;
END
$$
----
-- The cells of an order that a shape touches, never fewer; at most an eighth of a cell too far (cells are looked into
-- three orders deeper, each by the circle around it). 22023 if there are too many.
CREATE OR REPLACE FUNCTION sphere.moc_of(cell_order integer, shape double precision[])
RETURNS int8multirange LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 10000 AS $$
DECLARE
  kind text := sphere.kind(shape); p double precision[]; deepest integer := least(cell_order + 3, 29); radius double precision;
  r double precision; d double precision;
  orders integer[]; cells bigint[]; top integer := 12; k integer; cell bigint; cone double precision[]; inside boolean;
  ranges int8range[] := '{}'; n integer; steps integer := 0;
BEGIN
  IF kind IS NULL OR cell_order < 0 OR cell_order > 29 THEN
    RETURN NULL;
  ELSIF cardinality(shape) = 2 THEN
    RETURN int8multirange(sphere.cell_range(cell_order, sphere.healpix(cell_order, shape[1], shape[2])));
  ELSIF cardinality(shape) = 3 THEN
    radius := shape[3];
  ELSIF kind = 'polygon' THEN
    p := sphere.prepare(shape);
    IF p IS NULL THEN
      RETURN NULL;
    END IF;
  END IF;
  orders := array_fill(0, ARRAY[12]); cells := ARRAY[11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0];
  WHILE top > 0 LOOP
    k := orders[top]; cell := cells[top]; top := top - 1; steps := steps + 1;
    IF steps > 200000 THEN
      RAISE EXCEPTION USING ERRCODE = '22023',
        MESSAGE = 'a MOC of order ' || cell_order || ' has too many cells for this shape; take a lower order';
    END IF;
    r := sphere.cell_radius(k); cone := sphere.healpix_center(k, cell) || r;
    IF radius IS NOT NULL THEN
      d := sphere.separation(shape[1], shape[2], cone[1], cone[2]);
      CONTINUE WHEN d > radius + r;
      inside := d + r <= radius;
    ELSE
      CONTINUE WHEN NOT CASE WHEN p IS NULL THEN sphere.intersects(shape, cone) ELSE sphere.polygon_intersects(p, cone) END;
      inside := k <= cell_order AND CASE WHEN p IS NULL THEN sphere.contains(cone, shape) ELSE sphere.polygon_contains(p, cone) END;
    END IF;
    IF inside AND k <= cell_order THEN
      ranges := ranges || sphere.cell_range(k, cell);
    ELSIF k = deepest THEN
      ranges := ranges || sphere.cell_range(cell_order, cell >> (2 * (k - cell_order)));
      WHILE top > 0 AND orders[top] > cell_order LOOP
        top := top - 1;  -- the rest of the cell that was found to be touched
      END LOOP;
    ELSE
      FOR n IN REVERSE 3..0 LOOP
        top := top + 1; orders[top] := k + 1; cells[top] := 4 * cell + n;
      END LOOP;
    END IF;
  END LOOP;
  RETURN coalesce((SELECT range_agg(one) FROM unnest(ranges) AS one), '{}'::int8multirange);
END
$$
----
-- At most a few hundred circles [ra, dec, radius] that together cover a MOC and margin degrees more: for the indexes.
CREATE OR REPLACE FUNCTION sphere.moc_circles(moc int8multirange, margin double precision)
RETURNS SETOF double precision[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 1000 AS $$
DECLARE
  k integer := 0; shift integer; n bigint;
BEGIN
  FOR finer IN 1..12 LOOP
    shift := 2 * (29 - finer);
    SELECT sum(((upper(one) - 1) >> shift) - (lower(one) >> shift) + 1) INTO n FROM unnest(moc) AS one;
    EXIT WHEN n IS NULL OR n > 100;
    k := finer;
  END LOOP;
  shift := 2 * (29 - k);
  RETURN QUERY SELECT sphere.healpix_center(k, c) || least(180, sphere.cell_radius(k) + margin)
    FROM (SELECT DISTINCT generate_series(lower(one) >> shift, (upper(one) - 1) >> shift) AS c FROM unnest(moc) AS one) AS found;
END
$$
----
-- What the plain index on points is asked with, for a MOC.
CREATE OR REPLACE FUNCTION sphere.moc_point_boxes(moc int8multirange)
RETURNS box[] LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT COST 1000 AS $$
  SELECT coalesce(array_agg(one), '{}') FROM sphere.moc_circles(moc, 0) AS circle, unnest(sphere.point_boxes(circle)) AS one
$$
----
-- What the index on regions is asked with. The MOC of a region reaches beyond it by a cell of its order at most.
CREATE OR REPLACE FUNCTION sphere.moc_region_boxes(moc int8multirange, cell_order integer)
RETURNS box[] LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT COST 1000 AS $$
  SELECT coalesce(array_agg(one), '{}')
  FROM sphere.moc_circles(moc, 2 * sphere.cell_radius(cell_order)) AS circle, unnest(sphere.region_boxes(circle)) AS one
$$
----
-- Square degrees.
CREATE OR REPLACE FUNCTION sphere.moc_area(moc int8multirange)
RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$
  SELECT coalesce(sum(upper(one) - lower(one)), 0)::double precision
    / (12::bigint << 58) * 4 * pi() * power(180 / pi(), 2) FROM unnest(moc) AS one
$$
