import { readFileSync } from 'node:fs';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { ProxyConfig } from '../../common/config/schema.ts';
import { LeaseholdError } from '../../common/errors.ts';
import type { BackendTarget } from '../auth/types.ts';

/** For the package pg. */
export type DriverTls = false | { rejectUnauthorized: boolean; ca?: Buffer };

/** What the proxy shows its clients; null: no TLS. All functions throw LeaseholdError `CONFIG` for a file that cannot be read. */
export function clientTls(proxy: ProxyConfig): SecureContext | null {
  if (proxy.tls === undefined) return null;
  const { certFile, keyFile } = proxy.tls;
  return createSecureContext({
    cert: readFile(certFile, 'proxy.tls.certFile'),
    key: readFile(keyFile, 'proxy.tls.keyFile'),
  });
}

/** How the proxy speaks to servers. */
export function backendTls(proxy: ProxyConfig): BackendTarget['tls'] {
  const { mode, caFile } = proxy.serverTls;
  return caFile === undefined ? { mode } : { mode, ca: readFile(caFile, 'proxy.serverTls.caFile') };
}

/** The same, for connections of the service role. */
export function driverTls(proxy: ProxyConfig): DriverTls {
  const { mode, ca } = backendTls(proxy);
  if (mode === 'disable') return false;
  return { rejectUnauthorized: mode === 'verify-full', ...(ca === undefined ? {} : { ca }) };
}

function readFile(path: string, setting: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new LeaseholdError('CONFIG', `${setting}: cannot read ${path}: ${String(error)}`, error);
  }
}
