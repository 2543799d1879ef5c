import { z } from 'zod';

/** How nodes take WAL, clones and rewinds from each other; part of `agent`. */
export const replicationConfig = z.strictObject({
  user: z.string().default('leasehold_replication'),
  password: z.string().min(1),
  /** As libpq's sslmode and sslrootcert. From `require` on a leader refuses those who come in the clear. */
  tls: z
    .strictObject({
      mode: z.enum(['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full']).default('prefer'),
      /** Authorities of the other nodes' server certificates; PostgreSQL's user must be able to read it. */
      caFile: z.string().min(1).optional(),
    })
    .prefault({}),
});

export type ReplicationConfig = z.output<typeof replicationConfig>;

/** Whether nothing goes from node to node in the clear. */
export function encryptsAlways({ tls }: ReplicationConfig): boolean {
  return tls.mode === 'require' || tls.mode.startsWith('verify');
}
