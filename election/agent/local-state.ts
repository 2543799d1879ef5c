import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { LeaseholdError } from '../../common/errors.ts';
import { parseTerm, type Term } from '../../common/lsn.ts';
import { EMPTY_LOCAL_STATE, type LocalState } from '../core/types.ts';
import { type NodeLayout, prepareFolders, writeFileDurably } from '../postgres/files.ts';
import type { RunAs } from '../postgres/identity.ts';
import { pledgeRecord } from '../store/records.ts';

/**
 * What the agent must remember over its own death, as one JSON file beside the data directory. A pledge that is
 * forgotten could cost an acknowledged write, so a file that cannot be understood stops the agent.
 */
export interface LocalStateFile {
  readonly path: string;
  /** The empty state where there is no file. Throws `LeaseholdError` (LOCAL_STATE) where it is damaged. */
  read(): LocalState;
  /** Resolves once the whole state is on the disk; a power loss leaves the old one or the new one. */
  write(local: LocalState): Promise<void>;
}

const term = z.codec(z.string().regex(/^\d{1,20}$/), z.custom<Term>(), {
  decode: (text) => parseTerm(text),
  encode: (value) => value.toString(),
});

const stored = z.object({
  version: z.literal(1),
  pledge: pledgeRecord.nullable(),
  lineageTerm: term,
  baseTerm: term,
  bootstrapping: z.boolean(),
});

/** Makes the folder, too. */
export async function openLocalState(layout: NodeLayout, user: RunAs): Promise<LocalStateFile> {
  await prepareFolders(layout, user);
  const path = join(layout.sideDir, 'agent.json');
  return {
    path,
    read: () => (existsSync(path) ? decodeLocalState(readFileSync(path, 'utf8'), path) : EMPTY_LOCAL_STATE),
    write: (local) => writeFileDurably(path, `${encodeLocalState(local)}\n`, user),
  };
}

export function encodeLocalState(local: LocalState): string {
  return JSON.stringify(z.encode(stored, { version: 1, ...local }));
}

/** @param path for the error's text */
export function decodeLocalState(text: string, path: string): LocalState {
  try {
    const { pledge, lineageTerm, baseTerm, bootstrapping } = z.decode(stored, JSON.parse(text));
    return { pledge, lineageTerm, baseTerm, bootstrapping };
  } catch (error) {
    throw new LeaseholdError(
      'LOCAL_STATE',
      `${path} is damaged or from a newer version. It holds what this node promised in elections. Restore it, or, if the other nodes hold all data, remove it together with the data directory: the node is then cloned anew`,
      error,
    );
  }
}
