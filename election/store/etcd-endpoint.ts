import { Etcd3, type IOptions } from 'etcd3';
import { StoreError } from '../../common/errors.ts';
import type { EtcdCredentials } from './etcd-tls.ts';

/** Which of etcd's services a call uses; etcd3 keeps one channel for each. */
export type EtcdService = 'KV' | 'Lease' | 'Watch' | 'Maintenance';

/**
 * One etcd member. There is one client for each endpoint, so that this project and not the library decides where a
 * call goes: the library's own retries and circuit breakers outlast a lease (ELECTION.md, "The etcd3 client").
 */
export class EtcdEndpoint extends Etcd3 {
  readonly url: string;

  constructor(url: string, credentials: EtcdCredentials | null) {
    super({
      hosts: url,
      ...(credentials === null ? {} : { credentials: credentials as NonNullable<IOptions['credentials']> }),
      faultHandling: { host: () => noPolicy, global: noPolicy },
      grpcOptions: {
        // Each channel has its own connection: after a failure etcd3 drops the channel, and with the process-wide pool
        // the next one would be given the same connection again, however dead (a partition leaves it half open).
        'grpc.use_local_subchannel_pool': 1,
        'grpc.initial_reconnect_backoff_ms': 100,
        'grpc.max_reconnect_backoff_ms': 500,
        // Not below etcd's --grpc-keepalive-min-time (5 s), which would be answered by GOAWAY.
        'grpc.keepalive_time_ms': 6000,
        'grpc.keepalive_timeout_ms': 1500,
        'grpc.max_receive_message_length': 64 * 1024 * 1024,
      },
    });
    this.url = url;
  }

  /**
   * Resolves when the service's channel is connected. Throws `StoreError` `not-applied` when it cannot be within
   * `budgetMs`: nothing was sent, so the caller may ask another endpoint, whatever the request.
   */
  async connect(service: EtcdService, budgetMs: number): Promise<void> {
    const channel = await this.pool.withConnection(service, ({ client }) => client.getChannel());
    const deadline = Date.now() + budgetMs;
    for (;;) {
      const state = channel.getConnectivityState(true);
      if (state === READY) return;
      if (state === TRANSIENT_FAILURE || state === SHUTDOWN) {
        throw new StoreError('not-applied', `no connection to etcd at ${this.url}`);
      }
      await new Promise<void>((resolve, reject) => {
        channel.watchConnectivityState(state, deadline, (error) => {
          if (error === undefined) resolve();
          else reject(new StoreError('not-applied', `no connection to etcd at ${this.url} within ${budgetMs} ms`));
        });
      });
    }
  }
}

/** `connectivityState` of gRPC, https://grpc.github.io/grpc/core/md_doc_connectivity-semantics-and-api.html */
const READY = 2;
const TRANSIENT_FAILURE = 3;
const SHUTDOWN = 4;

type FaultPolicy = NonNullable<NonNullable<IOptions['faultHandling']>['global']>;

const neverAborted = new AbortController().signal;

/**
 * A policy that only runs the call. The library wants cockatiel's type, of which it uses `execute` alone; it counts
 * on a rejection where the call throws at once.
 */
const noPolicy = {
  execute: async (call: (context: { signal: AbortSignal }) => unknown) => await call({ signal: neverAborted }),
} as unknown as FaultPolicy;
