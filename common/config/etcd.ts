import { z } from 'zod';

/** How agents and proxies reach etcd; parts of `cluster`. */
export const etcdConfig = {
  /** etcd endpoints, `http://host:port` or `https://host:port`. */
  etcd: z
    .array(z.url({ protocol: /^https?$/ }))
    .min(1)
    .default(['http://127.0.0.1:2379']),
  /**
   * For `https` endpoints: whose certificates are believed (by default the public authorities), and the certificate to show to an
   * etcd that asks for one, with its key. Read when the process starts.
   */
  etcdTls: z
    .strictObject({
      caFile: z.string().min(1).optional(),
      certFile: z.string().min(1).optional(),
      keyFile: z.string().min(1).optional(),
    })
    .optional(),
};

export type EtcdTlsConfig = NonNullable<z.output<typeof etcdConfig.etcdTls>>;
