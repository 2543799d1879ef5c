import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect, createSecureContext } from 'node:tls';
import type { EtcdTlsConfig } from '../../common/config/etcd.ts';
import { ConfigError } from '../../common/errors.ts';

/** What connections to `https` endpoints use: whose certificates to believe, and which to show. */
export interface EtcdCredentials {
  readonly rootCertificate?: Buffer;
  readonly certChain?: Buffer;
  readonly privateKey?: Buffer;
}

/** Reads the files of `cluster.etcdTls`, once. Throws `ConfigError` where one is missing or does not fit. */
export function readEtcdCredentials(tls: EtcdTlsConfig | undefined): EtcdCredentials | null {
  if (tls === undefined) return null;
  const rootCertificate = tls.caFile === undefined ? {} : { rootCertificate: authorities(tls.caFile) };
  if (tls.certFile === undefined || tls.keyFile === undefined) return rootCertificate;
  const certChain = read(tls.certFile, 'certFile');
  const privateKey = read(tls.keyFile, 'keyFile');
  try {
    createSecureContext({ cert: certChain, key: privateKey });
  } catch (error) {
    throw fault('certFile', `${tls.certFile}, ${tls.keyFile}`, `cannot be used together: ${String(error)}`);
  }
  return { ...rootCertificate, certChain, privateKey };
}

const LOOK_MS = 1000;
/** A server that refuses a client's certificate says so a moment after the handshake. */
const REFUSAL_MS = 200;

/** Why no TLS connection comes about, by an attempt of our own; null where it does, or where that takes too long. */
export function tlsFault(url: string, credentials: EtcdCredentials | null): Promise<string | null> {
  const { hostname, port } = new URL(url);
  const { rootCertificate: ca, certChain: cert, privateKey: key } = credentials ?? {};
  const own = { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: Number(port === '' ? 443 : port), ALPNProtocols: ['h2'], ...own });
    const end = (reason: string | null): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(reason);
    };
    let timer = setTimeout(end, LOOK_MS, null);
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      timer = setTimeout(end, REFUSAL_MS, null);
    });
    socket.on('error', (error) => end(error.message));
    socket.on('data', () => {});
  });
}

/** gRPC says nothing of a file that holds no certificate; it then believes nobody. */
function authorities(path: string): Buffer {
  const pem = read(path, 'caFile');
  try {
    new X509Certificate(pem);
  } catch (error) {
    throw fault('caFile', path, `holds no certificate: ${String(error)}`);
  }
  return pem;
}

function read(path: string, name: keyof EtcdTlsConfig): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw fault(name, path, `cannot be read: ${String(error)}`);
  }
}

function fault(name: keyof EtcdTlsConfig, source: string, message: string): ConfigError {
  return new ConfigError([{ path: `cluster.etcdTls.${name}`, source, message }]);
}
