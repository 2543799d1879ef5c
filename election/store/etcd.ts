import { EtcdLeaseInvalidError } from 'etcd3';
import type { EtcdTlsConfig } from '../../common/config/etcd.ts';
import { StoreError } from '../../common/errors.ts';
import type { Logger } from '../../common/logger.ts';
import { EtcdCaller } from './etcd-call.ts';
import { decodeRange, decodeTransaction, encodeTransaction, prefixRange } from './etcd-codec.ts';
import { EtcdEndpoint } from './etcd-endpoint.ts';
import { followPrefix } from './etcd-follow.ts';
import { readEtcdCredentials } from './etcd-tls.ts';
import { warnOfOldEtcd } from './etcd-version.ts';
import type { LeaseId, LeaseStore } from './port.ts';

export interface EtcdStoreOptions {
  /** `http://host:port` or `https://host:port`, at least one. */
  readonly endpoints: readonly string[];
  /** For `https` endpoints; then all of them are. */
  readonly tls?: EtcdTlsConfig | undefined;
  readonly logger: Logger;
}

/**
 * The lease store on etcd, through the package etcd3 (keys, transactions, watches; neither its leases nor its
 * elections: ELECTION.md, "The etcd3 client"). Connects when first used. The caller closes it. Throws `ConfigError`
 * where the files of `tls` cannot be used.
 */
export function createEtcdStore(options: EtcdStoreOptions): LeaseStore {
  if (options.endpoints.length === 0) throw new StoreError('not-applied', 'etcd: no endpoints are configured');
  const credentials = readEtcdCredentials(options.tls);
  const endpoints = options.endpoints.map((url) => new EtcdEndpoint(url, credentials));
  const caller = new EtcdCaller(endpoints);
  const closing = new AbortController();
  const followers = new Set<Promise<void>>();
  const checkVersion = warnOfOldEtcd(caller, options.logger, closing.signal);

  return {
    async grantLease(ttlMs, call) {
      // etcd counts in whole seconds. A lease that lives longer there than its holder believes is safe.
      const TTL = Math.ceil(ttlMs / 1000);
      const grant = await caller.call(
        {
          what: 'grant a lease',
          service: 'Lease',
          repeatable: true, // a second grant leaves one lease behind that nobody uses
          run: (endpoint, grpc) => endpoint.leaseClient.leaseGrant({ TTL }, grpc),
        },
        call,
      );
      checkVersion();
      return { lease: grant.ID as LeaseId, ttlMs: Number(grant.TTL) * 1000 };
    },

    keepAlive(lease, call) {
      return caller.call(
        {
          what: 'keep a lease alive',
          service: 'Lease',
          repeatable: true,
          run: (e, grpc) => keepAliveOnce(e, lease, grpc),
        },
        call,
      );
    },

    async timeToLive(lease, call) {
      const answer = await caller.call(
        {
          what: 'ask for the time a lease has left',
          service: 'Lease',
          repeatable: true,
          run: (endpoint, grpc) => endpoint.leaseClient.leaseTimeToLive({ ID: lease }, grpc),
        },
        call,
      );
      // etcd answers TTL -1 for a lease that it does not know.
      return {
        ttlMs: Math.max(0, Number(answer.TTL) * 1000),
        grantedTtlMs: Math.max(0, Number(answer.grantedTTL) * 1000),
      };
    },

    async revokeLease(lease, call) {
      await caller.call(
        {
          what: 'revoke a lease',
          service: 'Lease',
          repeatable: true,
          run: async (endpoint, grpc) => {
            try {
              await endpoint.leaseClient.leaseRevoke({ ID: lease }, grpc);
            } catch (error) {
              if (!(error instanceof EtcdLeaseInvalidError)) throw error; // already gone: what was wanted
            }
          },
        },
        call,
      );
    },

    async transact(transaction, call) {
      const request = encodeTransaction(transaction);
      const response = await caller.call(
        {
          what: 'transaction',
          service: 'KV',
          repeatable: false,
          run: (endpoint, grpc) => endpoint.kv.txn(request, grpc),
        },
        call,
      );
      checkVersion();
      return decodeTransaction(transaction, response);
    },

    async readAll(prefix, call) {
      const request = prefixRange(prefix);
      const response = await caller.call(
        { what: 'read', service: 'KV', repeatable: true, run: (endpoint, grpc) => endpoint.kv.range(request, grpc) },
        call,
      );
      return decodeRange(response);
    },

    follow(prefix, follow) {
      const signal = AbortSignal.any([closing.signal, follow.signal]);
      const running = followPrefix({
        ...follow,
        prefix,
        signal,
        urls: options.endpoints,
        credentials,
        logger: options.logger,
      });
      followers.add(running);
      void running.finally(() => followers.delete(running));
    },

    async close() {
      closing.abort(new StoreError('not-applied', 'etcd: the store was closed'));
      await Promise.all(followers);
      for (const endpoint of endpoints) endpoint.close();
    },
  };
}

/**
 * One request and one answer on a stream of its own. The library's keep-alive shares a long-lived stream, which is
 * held for a whole TTL after it has gone silent.
 */
async function keepAliveOnce(
  endpoint: EtcdEndpoint,
  lease: LeaseId,
  grpc: { readonly deadline: number },
): Promise<{ readonly ttlMs: number }> {
  const stream = await endpoint.leaseClient.leaseKeepAlive(grpc);
  try {
    return await new Promise((resolve, reject) => {
      stream.on('data', (answer) => resolve({ ttlMs: Number(answer.TTL) * 1000 }));
      stream.on('error', reject);
      stream.on('end', () =>
        reject(new StoreError('unknown', `etcd at ${endpoint.url} ended a keep-alive unanswered`)),
      );
      stream.write({ ID: lease });
    });
  } finally {
    stream.end();
  }
}
