/**
 * What the proxy reads of a database's catalog, by one connection to the leader. PostgreSQL 15 to 18; pg_proc, pg_rewrite
 * and the rest: https://www.postgresql.org/docs/current/catalogs.html
 */

/** Changes whenever a row of what CATALOG_SQL reads does. Objects below 16384 came with initdb. */
export const FINGERPRINT_SQL = `
SELECT pg_catalog.md5(pg_catalog.string_agg(line, ',' ORDER BY line)) FROM (
  SELECT 'p' || oid || ':' || xmin AS line FROM pg_catalog.pg_proc WHERE oid >= 16384
  UNION ALL SELECT 'o' || oid || ':' || xmin FROM pg_catalog.pg_operator WHERE oid >= 16384
  UNION ALL SELECT 'c' || oid || ':' || xmin FROM pg_catalog.pg_cast WHERE oid >= 16384
  UNION ALL SELECT 'd' || oid || ':' || xmin FROM pg_catalog.pg_constraint WHERE contypid <> 0 AND oid >= 16384
  UNION ALL SELECT 'r' || oid || ':' || xmin FROM pg_catalog.pg_rewrite WHERE oid >= 16384
  UNION ALL SELECT 'l' || oid || ':' || xmin FROM pg_catalog.pg_policy
  UNION ALL SELECT 'n' || oid || ':' || xmin FROM pg_catalog.pg_namespace
  UNION ALL SELECT 'v' || oid || ':' || xmin FROM pg_catalog.pg_class
                  WHERE oid >= 16384 AND (relkind = 'v' OR relrowsecurity)
) AS lines`;

/** Built-in functions that views, policies and checks may call and that pg_depend does not tell, because they are pinned. */
const LEADER_CALL =
  '^(nextval|setval|currval|lastval|set_config|setseed|pg_notify|txid_current|pg_current_xact_id|pg_export_snapshot|pg_current_wal_\\w+|pg_(try_)?advisory_\\w+|lo_\\w+|query_to_xml\\w*|cursor_to_xml\\w*)$';

/** A pattern of calls of these, as trees of expressions have them. */
function callsOf(names: string): string {
  return `(SELECT ':funcid (' || pg_catalog.string_agg(oid::pg_catalog.text, '|') || ') ' FROM pg_catalog.pg_proc WHERE oid < 16384 AND proname ~ '${names}')`;
}

/**
 * What a function's source says when it may set something that outlives the transaction, which no reader of its caller sees. A
 * `set_config` with `true` for its last argument is local.
 */
const LOCAL_SET = '\\mset_config\\s*\\([^;]*,\\s*(is_local\\s*(=>|:=)\\s*)?true\\s*\\)';
const SESSION_SET =
  "\\mset_config\\M|(^|;|\\mbegin\\M|\\mthen\\M|\\melse\\M|\\mloop\\M|[''\"$])\\s*set\\s+(?!local\\M)";

/**
 * Rows (kind, schema, name, volatility):
 * `function`, every function by its strongest overload, an aggregate by what it calls; and whatever reaches a volatile one of
 * the user's without a call being seen: `operator`, `type` (a cast to it, the check of a domain), `attribute` (a function of one row, `x.name`),
 * `relation` (a view by its definition, a table by its policies, and views on these). `setter`: a function of the user's whose
 * source sets something for the session.
 * Definitions are read as the catalog keeps them, as trees: pg_get_viewdef and its like lock the tables they name, and what
 * nobody asked for must never wait for a user's DDL, nor be one half of its deadlock.
 */
export const CATALOG_SQL = `
WITH RECURSIVE leader_call AS MATERIALIZED (
  SELECT ${callsOf(LEADER_CALL)} AS pattern
), called AS (
  SELECT p.oid, p.pronamespace, p.proname, p.pronargs, p.proargtypes,
         CASE WHEN p.provolatile = 'v' OR EXISTS (
                SELECT FROM pg_catalog.pg_aggregate a JOIN pg_catalog.pg_proc s
                  ON s.oid IN (a.aggtransfn, a.aggfinalfn, a.aggmtransfn, a.aggmfinalfn, a.aggcombinefn)
                WHERE p.prokind = 'a' AND p.oid >= 16384 AND a.aggfnoid = p.oid AND s.provolatile = 'v')
              THEN 2 WHEN p.provolatile = 's' THEN 1 ELSE 0 END AS strength
  FROM pg_catalog.pg_proc p
), volatile_user AS (
  SELECT * FROM called WHERE strength = 2 AND oid >= 16384
), volatile_operator AS (
  SELECT o.oid, o.oprname, o.oprnamespace FROM pg_catalog.pg_operator o JOIN volatile_user v ON v.oid = o.oprcode
), reaching AS (
  SELECT r.ev_class AS oid FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d
    ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
   WHERE r.rulename = '_RETURN' AND (
         (d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.refobjid IN (SELECT oid FROM volatile_user))
      OR (d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass AND d.refobjid IN (SELECT oid FROM volatile_operator)))
  UNION
  SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid AND r.rulename = '_RETURN'
   WHERE c.relkind = 'v' AND c.oid >= 16384 AND r.ev_action::pg_catalog.text ~ (SELECT pattern FROM leader_call)
  UNION
  SELECT l.polrelid FROM pg_catalog.pg_policy l
   WHERE l.polqual::pg_catalog.text ~ (SELECT pattern FROM leader_call) OR EXISTS (
         SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass
            AND d.objid = l.oid AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
            AND d.refobjid IN (SELECT oid FROM volatile_user))
), relations AS (
  SELECT oid FROM reaching
  UNION
  SELECT r.ev_class FROM relations t
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = t.oid
                               AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
    JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid AND r.rulename = '_RETURN'
)
SELECT 'function', n.nspname, c.proname, pg_catalog.substr('isv', pg_catalog.max(c.strength) + 1, 1)
  FROM called c JOIN pg_catalog.pg_namespace n ON n.oid = c.pronamespace GROUP BY n.nspname, c.proname
UNION ALL
SELECT DISTINCT 'operator', n.nspname, o.oprname, 'v'
  FROM volatile_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
UNION ALL
SELECT DISTINCT 'type', n.nspname, t.typname, 'v'
  FROM pg_catalog.pg_cast k JOIN volatile_user v ON v.oid = k.castfunc
  JOIN pg_catalog.pg_type t ON t.oid = k.casttarget JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
UNION ALL
SELECT DISTINCT 'type', n.nspname, t.typname, 'v'
  FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_type t ON t.oid = k.contypid
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
 WHERE k.contypid <> 0 AND k.oid >= 16384 AND (k.conbin::pg_catalog.text ~ (SELECT pattern FROM leader_call) OR EXISTS (
       SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
          AND d.objid = k.oid AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
          AND d.refobjid IN (SELECT oid FROM volatile_user)))
UNION ALL
SELECT DISTINCT 'attribute', n.nspname, v.proname, 'v'
  FROM volatile_user v JOIN pg_catalog.pg_namespace n ON n.oid = v.pronamespace
  JOIN pg_catalog.pg_type t ON t.oid = v.proargtypes[0]
 WHERE v.pronargs >= 1 AND t.typtype IN ('c', 'p')
UNION ALL
SELECT DISTINCT 'relation', n.nspname, c.relname, 'v'
  FROM relations r JOIN pg_catalog.pg_class c ON c.oid = r.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
UNION ALL
SELECT DISTINCT 'setter', n.nspname, p.proname, 'v'
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
 WHERE p.oid >= 16384 AND l.lanname NOT IN ('c', 'internal')
   AND (pg_catalog.regexp_replace(p.prosrc, '${LOCAL_SET}', '', 'gi') ~* '${SESSION_SET}'
        OR p.prosqlbody::pg_catalog.text ~ ${callsOf('^set_config$')})`;
