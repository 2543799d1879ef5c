/** Cluster, node and proxy names: they stand in etcd keys, in `synchronous_standby_names` and in file names. */
export const NAME_PATTERN = /^[a-z][a-z0-9_-]{0,39}$/;
