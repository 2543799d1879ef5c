import { z } from 'zod';
import { type ApiOptions, openApi, print, stopSignal, whoAsks } from './context.ts';
import { pauseText } from './status.ts';

const pauseAnswer = z.looseObject({ by: z.string(), reason: z.string().nullable(), at: z.string() });

/** Stops automatic failover for maintenance. */
export async function pauseCommand(options: ApiOptions & { readonly reason?: string }): Promise<void> {
  const reason = options.reason === undefined ? {} : { reason: options.reason };
  const answer = await openApi(options).post('/pause', { ...reason, by: whoAsks() }, stopSignal());
  print(pauseText(pauseAnswer.parse(answer)));
}

/** Ends a pause. */
export async function resumeCommand(options: ApiOptions): Promise<void> {
  await openApi(options).post('/resume', {}, stopSignal());
  print('automatic failover is on again');
}
