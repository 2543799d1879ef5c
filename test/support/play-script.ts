import type { Step } from './steps.ts';
import { RawClient, type Transcript } from './raw-client.ts';

/** Plays a script on a fresh connection; what was heard after each of its steps. `pieceBytes`: the input is cut into such pieces. */
export async function playScript(port: number, steps: readonly Step[], pieceBytes = 0): Promise<Transcript[]> {
  await using client = await RawClient.connect({ port }, [['application_name', 'conformance']]);
  const transcripts: Transcript[] = [];
  for (const { send, until, count } of steps) {
    if (pieceBytes === 0) client.send(...send);
    else {
      const all = Buffer.concat(send);
      for (let at = 0; at < all.length; at += pieceBytes) {
        client.send(all.subarray(at, at + pieceBytes));
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    try {
      transcripts.push(await client.read(until, count));
    } catch (error) {
      throw new Error(`step ${transcripts.length + 1}: ${preview(send)}`, { cause: error });
    }
  }
  return transcripts;
}

export function preview(messages: readonly Buffer[]): string {
  return messages.map((each) => JSON.stringify(each.toString('latin1').slice(0, 60))).join(' ');
}
