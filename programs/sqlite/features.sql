-- A walk through what SQLite can do: many functions, little work.
CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, born TEXT, boss REFERENCES person(id));
INSERT INTO person VALUES (1, 'Ada', '1815-12-10', NULL), (2, 'Grace', '1906-12-09', 1), (3, 'Edsger', '1930-05-11', 2),
  (4, 'Barbara', '1939-11-07', 2), (5, 'Leslie', '1941-02-07', 3);
CREATE VIEW reports AS SELECT b.name AS boss, group_concat(p.name, ', ') AS team FROM person p JOIN person b ON p.boss = b.id
  GROUP BY b.id;
SELECT * FROM reports ORDER BY boss;
WITH RECURSIVE chain(id, depth, path) AS (
  SELECT id, 0, name FROM person WHERE boss IS NULL
  UNION ALL SELECT p.id, depth + 1, path || ' > ' || p.name FROM person p JOIN chain c ON p.boss = c.id)
SELECT printf('%*s%s', depth * 2, '', path) FROM chain ORDER BY path;
SELECT name, julianday('2000-01-01') - julianday(born) AS days, strftime('%Y', born) % 4 = 0 AS leap FROM person ORDER BY days;
SELECT name, rank() OVER (ORDER BY length(name)), sum(id) OVER (ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM person;
CREATE TABLE log(at INTEGER, what TEXT);
CREATE TRIGGER renamed AFTER UPDATE OF name ON person WHEN old.name <> new.name
  BEGIN INSERT INTO log VALUES ((SELECT count(*) FROM log), old.name || '->' || new.name); END;
UPDATE person SET name = upper(name) WHERE id IN (SELECT boss FROM person);
SELECT * FROM log;
SELECT json_group_array(json_object('n', name, 'l', length(name))) FROM person;
SELECT key, value, type FROM json_each('{"a":[1,2.5,null],"b":{"c":"x"},"d":true}');
SELECT quote(x'00ff10'), typeof(1.0), 7 / 2, 7 % -3, -7 / 2, 1 << 40, ~5, 9223372036854775807 + 1, 'a' || NULL IS NULL;
SELECT round(pow(2, 0.5), 6), round(exp(1), 6), abs(-3), instr('haystack', 'st'), replace('aXbX', 'X', '--'), trim('  t '), unicode('é');
SAVEPOINT outer_point; DELETE FROM person; SELECT count(*) FROM person; ROLLBACK TO outer_point; RELEASE outer_point;
SELECT count(*), max(name COLLATE NOCASE) FROM person;
CREATE TABLE pairs(a, b, PRIMARY KEY(a, b)) WITHOUT ROWID;
INSERT INTO pairs SELECT p.id, q.id FROM person p, person q WHERE p.id <> q.id;
INSERT INTO pairs VALUES (1, 2) ON CONFLICT DO NOTHING;
SELECT a, group_concat(b, '') FROM pairs GROUP BY a HAVING a > 2;
EXPLAIN QUERY PLAN SELECT * FROM pairs WHERE a = 3 AND b > 2;
PRAGMA integrity_check;
SELECT name FROM sqlite_master ORDER BY name;
