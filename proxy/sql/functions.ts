import type { PinReason } from './types.ts';

/**
 * Built-in functions by what they mean for routing (ROUTING.md, "Where a statement goes"). Volatility alone
 * does not tell: `random` is volatile and harmless, `txid_current` is "stable" and cannot run on a standby.
 */

/** Volatile by pg_proc, but they neither write nor touch the session: a follower may run them. PostgreSQL 15 to 18. */
export const SAFE_VOLATILE: ReadonlySet<string> = new Set(
  `random random_normal clock_timestamp timeofday gen_random_uuid uuidv4 uuidv7 array_shuffle array_sample
   pg_sleep pg_sleep_for pg_sleep_until pg_relation_size pg_table_size pg_indexes_size pg_total_relation_size
   pg_database_size pg_tablespace_size pg_partition_tree pg_partition_ancestors pg_collation_actual_version
   pg_database_collation_actual_version pg_jit_available pg_column_toast_chunk_id pg_sequence_last_value`
    .trim()
    .split(/\s+/),
);

/**
 * Always the leader's: they write, fail on a standby, are session state there, or run SQL from a text. Most are volatile by
 * pg_proc as well; they are named so that no catalog and no hint is needed.
 */
const LEADER_NAMES: ReadonlySet<string> = new Set(
  `nextval setval currval lastval set_config setseed pg_notify txid_current txid_status pg_xact_status
   pg_current_xact_id pg_export_snapshot pg_current_wal_lsn pg_current_wal_insert_lsn pg_current_wal_flush_lsn
   pg_walfile_name pg_walfile_name_offset pg_switch_wal pg_promote pg_reload_conf pg_rotate_logfile loread lowrite
   pg_cancel_backend pg_terminate_backend pg_log_backend_memory_contexts pg_log_standby_snapshot pg_import_system_collations
   pg_nextoid pg_sync_replication_slots gin_clean_pending_list ts_stat ts_rewrite pg_last_committed_xact
   pg_stat_clear_snapshot pg_stat_force_next_flush pg_prepared_xact pg_clear_relation_stats pg_restore_relation_stats`
    .trim()
    .split(/\s+/),
);
const LEADER_PREFIX =
  /^(?:lo_|pg_advisory_|pg_try_advisory_|query_to_xml|cursor_to_xml|binary_upgrade_|brin_|pg_logical_|pg_replication_|pg_create_|pg_drop_|pg_copy_|pg_stat_reset|pg_wal_replay_|pg_backup_|pg_start_backup|pg_stop_backup)/;

/** They describe the node that runs them. */
const NODE_NAME =
  /^(?:pg_is_in_recovery|pg_last_wal_\w+|pg_last_xact_replay_timestamp|inet_server_addr|inet_server_port|pg_postmaster_start_time|pg_conf_load_time|pg_backend_pid|pg_blocking_pids|pg_safe_snapshot_blocking_pids|pg_lock_status|pg_stat_get_\w+|pg_stat_file|pg_control_\w+|pg_is_wal_replay_paused|pg_get_wal_\w+|pg_ls_\w+|pg_read_(?:binary_)?file|pg_current_logfile|pg_show_all_file_settings|pg_hba_file_rules|pg_ident_file_mappings|pg_get_shmem_allocations|pg_get_backend_memory_contexts|pg_show_replication_origin_status|pg_get_replication_slots|pg_cursor|pg_prepared_statement|pg_notification_queue_usage)$/;

/** Relations that describe a node; names that begin so are pg_catalog's, an extension's or, unwisely, the user's. */
const NODE_RELATION =
  /^(?:pg_stat_\w+|pg_statio_\w+|pg_locks|pg_replication_slots|pg_prepared_xacts|pg_prepared_statements|pg_cursors|pg_file_settings|pg_hba_file_rules|pg_ident_file_mappings|pg_shmem_allocations\w*|pg_dsm_registry_allocations|pg_backend_memory_contexts|pg_replication_origin_status|pg_config|pg_aios)$/;

export type BuiltinVerdict = 'leader' | 'node' | null;

/** What is known of a call without any catalog; null: ask the catalog. An extension's `dblink` may be in any schema. */
export function builtinVerdict(schema: string | null, name: string): BuiltinVerdict {
  if (name.startsWith('dblink')) return 'leader';
  if (schema !== null && isTemporarySchema(schema)) return 'leader';
  if (schema !== null && schema !== 'pg_catalog') return null;
  if (LEADER_NAMES.has(name) || LEADER_PREFIX.test(name)) return 'leader';
  return NODE_NAME.test(name) ? 'node' : null;
}

export function isNodeRelation(schema: string | null, name: string): boolean {
  return (schema === null || schema === 'pg_catalog') && NODE_RELATION.test(name);
}

export function isTemporarySchema(schema: string): boolean {
  return schema === 'pg_temp' || schema.startsWith('pg_temp_') || schema.startsWith('pg_toast_temp_');
}

/** What a call leaves in the session; `set_config` is looked at by its arguments elsewhere. */
export function pinOfFunction(schema: string | null, name: string): PinReason | null {
  if (name.startsWith('dblink_connect')) return 'session-state';
  if (schema !== null && schema !== 'pg_catalog') return null;
  // An unlock too: the server is asked then what is left, and the pin ends with the last lock.
  if (/^pg_(?:try_)?advisory_(?:un)?lock(?:_shared|_all)?$/.test(name)) return 'advisory-lock';
  if (name === 'currval' || name === 'lastval') return 'sequence-values';
  return name === 'setseed' || name === 'pg_replication_origin_session_setup' ? 'session-state' : null;
}

/** Settings whose SHOW describes the node rather than the session. */
const NODE_SETTING =
  /^(?:transaction_\w+|in_hot_standby|hot_standby\w*|primary_\w+|recovery_\w+|restore_command|synchronous_standby_names|cluster_name|port|listen_addresses|\w+_directory|\w+_directories|\w+_file|archive_\w+|wal_\w+|max_wal_\w+|promote_trigger_file)$/;

export function isNodeSetting(name: string): boolean {
  return NODE_SETTING.test(name);
}
