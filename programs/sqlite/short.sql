-- A billion instructions of an unoptimised SQLite: 50 to 90 ms.
CREATE TABLE parts(id INTEGER PRIMARY KEY, kind INTEGER, label TEXT, weight REAL);
WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 38000)
  INSERT INTO parts SELECT i, i * 6151 % 499, printf('part-%05d-%s', i, hex(i * 2654435761 % 65521)), i * 0.125 FROM n;
CREATE INDEX by_kind ON parts(kind);
SELECT count(*), sum(kind), round(avg(weight), 3), max(label) FROM parts;
SELECT kind % 10 AS k, count(*), min(label), total(weight) FROM parts GROUP BY k ORDER BY 2 DESC, 1 LIMIT 4;
UPDATE parts SET label = lower(label), weight = weight * 1.5 WHERE kind BETWEEN 100 AND 200;
DELETE FROM parts WHERE id % 7 = 3;
SELECT a.kind, count(*) FROM parts a JOIN parts b ON a.kind = b.kind AND a.id < b.id WHERE a.kind < 5 GROUP BY 1;
SELECT label FROM parts WHERE label GLOB '*-00[1-3]*' ORDER BY weight DESC, id LIMIT 5;
