import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type ConnectionOptions, createSecureContext, getCACertificates, type SecureContextOptions } from 'node:tls';
import type { ProxyConfig } from '../../common/config/schema.ts';
import { ConfigError } from '../../common/errors.ts';
import { endPointBinding } from '../auth/certificate.ts';
import type { ClientTls } from '../auth/connection.ts';
import type { BackendTls } from '../auth/types.ts';

/** For the package pg. */
export type DriverTls = false | ConnectionOptions;

/** `caFile` for the authorities that the machine trusts. */
const SYSTEM = 'system';

/** What the proxy shows its clients; null: no TLS. All functions throw ConfigError for a file that is not right. */
export function clientTls(proxy: ProxyConfig): ClientTls | null {
  if (proxy.tls === undefined) return null;
  const { certFile, keyFile, clientCaFile, crlFile, minVersion } = proxy.tls;
  const cert = read(certFile, 'proxy.tls.certFile');
  const secureContext = context('proxy.tls', {
    cert,
    key: read(keyFile, 'proxy.tls.keyFile'),
    minVersion,
    ...(clientCaFile === undefined ? {} : { ca: read(clientCaFile, 'proxy.tls.clientCaFile') }),
    ...(crlFile === undefined ? {} : { crl: read(crlFile, 'proxy.tls.crlFile') }),
  });
  // The first of the file is the proxy's own, those of authorities in between follow it.
  const binding = endPointBinding(new X509Certificate(cert).raw);
  return { secureContext, binding, asksForCertificate: clientCaFile !== undefined };
}

/** How the proxy speaks to servers. */
export function backendTls(proxy: ProxyConfig): BackendTls {
  const { mode, caFile, crlFile, certFile, keyFile, minVersion, channelBinding } = proxy.serverTls;
  if (mode === 'disable') return { mode, channelBinding };
  const made: SecureContextOptions = {
    minVersion,
    ...(caFile === undefined ? {} : { ca: authorities(caFile) }),
    ...(crlFile === undefined ? {} : { crl: read(crlFile, 'proxy.serverTls.crlFile') }),
    ...(certFile === undefined ? {} : { cert: read(certFile, 'proxy.serverTls.certFile') }),
    ...(keyFile === undefined ? {} : { key: read(keyFile, 'proxy.serverTls.keyFile') }),
  };
  const fingerprint = createHash('sha256').update(JSON.stringify(made)).digest('hex');
  return { mode, secureContext: context('proxy.serverTls', made), fingerprint, channelBinding };
}

/**
 * The same, for connections of the service role, which go without TLS under `allow` and `prefer`. Files that were reread count from
 * the next connection on: the driver copies the options when it makes one.
 */
export function driverTls(now: () => BackendTls): DriverTls {
  const { mode } = now();
  if (mode === 'disable' || mode === 'allow' || mode === 'prefer') return false;
  return {
    get secureContext() {
      return now().secureContext;
    },
    rejectUnauthorized: mode !== 'require',
    ...(mode === 'verify-ca' ? { checkServerIdentity: () => undefined } : {}),
  };
}

function authorities(caFile: string): Buffer | string[] {
  return caFile === SYSTEM ? getCACertificates('system') : read(caFile, 'proxy.serverTls.caFile');
}

/** OpenSSL's own words say what is wrong with a file or a pair of them. */
function context(setting: string, options: SecureContextOptions): ReturnType<typeof createSecureContext> {
  try {
    return createSecureContext(options);
  } catch (error) {
    throw new ConfigError([{ path: setting, source: 'its files', message: String(error) }]);
  }
}

function read(path: string, setting: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new ConfigError([{ path: setting, source: path, message: `cannot be read: ${String(error)}` }]);
  }
}
