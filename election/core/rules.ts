import type { ClusterConfig } from '../../common/config/schema.ts';
import type { ClusterView } from './cluster-view.ts';
import type { CoreConfig } from './types.ts';

/** What all agents of a cluster should agree in. */
export type Rules = Pick<ClusterConfig, 'syncAcks' | 'withoutFollower'>;

/**
 * The rules in force: what `config` in etcd says, and for the rest this node's own configuration. Only a leader goes by
 * them, and each change goes the way of every change of the durability record (E4), whatever they were before.
 */
export function rulesOf(state: { readonly config: CoreConfig; readonly view: ClusterView | null }): Rules {
  const given = state.view?.settings?.settings;
  return {
    syncAcks: given?.syncAcks ?? state.config.syncAcks,
    withoutFollower: given?.withoutFollower ?? state.config.withoutFollower,
  };
}
