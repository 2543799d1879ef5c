/**
 * Cluster, node and proxy names: they stand in etcd keys, in `synchronous_standby_names`, in file names and, with - as _,
 * in the names of replication slots. No underscore, so that no two nodes share a slot.
 */
export const NAME_PATTERN = /^[a-z][a-z0-9-]{0,39}$/;
