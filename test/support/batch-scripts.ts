import { query } from '../../proxy/wire/encode.ts';
import type { Step } from './steps.ts';

const texts = (...each: readonly string[]): Step[] => each.map((sql) => ({ send: [query(sql)], until: 'Z', count: 1 }));

/** Texts of several statements, and what follows them: each leaves the database as it found it. */
export const BATCHES: Readonly<Record<string, readonly Step[]>> = {
  'a text that begins a transaction, then SAVEPOINT, EXECUTE and ROLLBACK TO': texts(
    'CREATE TABLE batch (i int)',
    'BEGIN; INSERT INTO batch VALUES (1)',
    'SAVEPOINT s',
    'PREPARE counted AS SELECT count(*) FROM batch',
    'EXECUTE counted',
    'INSERT INTO batch VALUES (2)',
    'EXECUTE counted',
    'ROLLBACK TO s',
    'EXECUTE counted',
    'COMMIT',
    'SELECT * FROM batch',
    'EXECUTE counted',
    'DEALLOCATE counted',
    'DROP TABLE batch',
  ),
  'a text that writes, begins and writes, then ROLLBACK': texts(
    'CREATE TABLE batch (i int)',
    'INSERT INTO batch VALUES (1); BEGIN; INSERT INTO batch VALUES (2)',
    'SELECT * FROM batch',
    'ROLLBACK',
    'SELECT * FROM batch',
    'DROP TABLE batch',
  ),
  'COMMIT AND CHAIN within a text': texts(
    'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1; COMMIT AND CHAIN; SELECT 2',
    'SHOW transaction_isolation',
    'ROLLBACK AND CHAIN',
    'SHOW transaction_isolation',
    'COMMIT',
    'SHOW transaction_isolation',
  ),
  'VACUUM in a batch': texts('SELECT 1; VACUUM', 'VACUUM; SELECT 1', 'SELECT 2'),
  'an error in a text undoes all of it, but for what it committed': texts(
    'CREATE TABLE batch (i int); INSERT INTO batch VALUES (1); SELECT 1/0',
    "SELECT to_regclass('batch')",
    'CREATE TABLE batch (i int)',
    'BEGIN; INSERT INTO batch VALUES (1); COMMIT; INSERT INTO batch VALUES (2); SELECT 1/0',
    'SELECT * FROM batch',
    'DROP TABLE batch',
  ),
  'a text that leaves a READ ONLY transaction open': texts(
    'BEGIN READ ONLY; SELECT 1',
    'SELECT 2',
    'CREATE TABLE batch (i int)',
    'SELECT 3',
    'COMMIT',
    'SELECT 4',
  ),
};
