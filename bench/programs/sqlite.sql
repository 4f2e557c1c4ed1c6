-- SPDX-License-Identifier: MIT
-- SQLite in memory: inserts, an index, joins, groups, updates. Shell dots are not used: the size is the table's below.
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, kind INTEGER, price REAL);
CREATE TABLE kind (id INTEGER PRIMARY KEY, name TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 97)
INSERT INTO kind SELECT i, 'kind ' || i FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 240000)
INSERT INTO item SELECT i, 'item ' || (i * 7919 % 100003), i * 31 % 97 + 1, (i * 37 % 1000) / 8.0 FROM n;
CREATE INDEX item_name ON item (name);
SELECT count(*), sum(price) FROM item WHERE name BETWEEN 'item 2' AND 'item 4';
SELECT kind.name, count(*), avg(price) FROM item JOIN kind ON kind.id = item.kind GROUP BY kind.id ORDER BY 3 DESC LIMIT 5;
UPDATE item SET price = price * 1.5 WHERE id % 3 = 0;
SELECT a.name, b.id FROM item a JOIN item b ON b.name = a.name WHERE a.id < 20000 ORDER BY a.name, b.id LIMIT 5;
DELETE FROM item WHERE kind > 50;
SELECT count(*), total(price) FROM item;
