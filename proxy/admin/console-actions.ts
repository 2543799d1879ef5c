import { ClientError } from '../../common/errors.ts';
import { assertNever } from '../../common/never.ts';
import type { Action, Command } from './commands.ts';
import type { ConsoleCancel } from './console.ts';
import type { ProxyControl } from './types.ts';

/** Carries commands out, one after another; those that wait end with the cancel, the client or the proxy. Resolves with a notice. */
export function actOn(
  control: ProxyControl,
  cancel: ConsoleCancel,
  stopped: AbortSignal,
): (command: Command & { readonly kind: 'do' }) => Promise<string | null> {
  return async ({ action }) => {
    const signal = AbortSignal.any([cancel.begin(), stopped]);
    try {
      return await act(control, action, signal);
    } finally {
      cancel.end();
    }
  };
}

async function act(control: ProxyControl, action: Action, signal: AbortSignal): Promise<string | null> {
  switch (action.type) {
    case 'pause':
      await control.pause(action.database, signal);
      return null;
    case 'resume':
      if (!control.isPaused(action.database)) throw notPaused(action.database);
      control.resume(action.database);
      return null;
    case 'reconnect':
      control.reconnect(action.database);
      return null;
    case 'wait-close':
      await control.waitClose(action.database, signal);
      return null;
    case 'kill':
      return `clients ended: ${control.kill(action.database)}; new ones wait until RESUME`;
    case 'kill-client':
      if (control.killClient(action.id)) return null;
      throw new ClientError({ sqlState: '42704', message: `there is no client ${action.id}: SHOW CLIENTS lists them` });
    case 'disable':
    case 'enable':
      control.setEnabled(action.database, action.type === 'enable');
      return null;
    case 'set':
      control.set(action.path, action.value);
      return null;
    case 'reload': {
      const { changed, needsRestart } = control.reload();
      const restart = needsRestart.length === 0 ? '' : `; a restart is needed for ${needsRestart.join(', ')}`;
      return `${changed.length === 0 ? 'nothing changed' : `in force now: ${changed.join(', ')}`}${restart}`;
    }
    case 'shutdown':
      control.stop(action.mode);
      return null;
    default:
      return assertNever(action, 'console action');
  }
}

function notPaused(database: string | null): ClientError {
  const what = database === null ? 'nothing is paused' : `database "${database}" is not paused`;
  return new ClientError({ sqlState: '55000', message: what });
}
