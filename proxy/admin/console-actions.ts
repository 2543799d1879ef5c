import { ClientError } from '../../common/errors.ts';
import { assertNever } from '../../common/never.ts';
import type { Drills } from '../drill/runner.ts';
import type { Action } from './commands.ts';
import type { ConsoleCancel } from './console.ts';
import { abortByConsole, drillByConsole } from './console-drills.ts';
import type { ConsoleRights } from './console-session.ts';
import type { ProxyControl } from './types.ts';

export interface Operators {
  readonly control: ProxyControl;
  readonly drills: Drills;
  /** Who acts. */
  readonly user: string;
}

/** Carries commands out, one after another; those that wait end with the cancel, the client or the proxy. Resolves with a notice. */
export function actOn(
  operators: Operators,
  cancel: ConsoleCancel,
  stopped: AbortSignal,
): NonNullable<ConsoleRights['act']> {
  return async ({ action }, say) => {
    const signal = AbortSignal.any([cancel.begin(), stopped]);
    try {
      if (action.type === 'drill') return await drillByConsole(operators.drills, action, operators.user, say, signal);
      if (action.type === 'abort-drill') return await abortByConsole(operators.drills);
      return await act(operators.control, action, signal);
    } finally {
      cancel.end();
    }
  };
}

type ProcessAction = Exclude<Action, { readonly type: 'drill' | 'abort-drill' }>;

async function act(control: ProxyControl, action: ProcessAction, signal: AbortSignal): Promise<string | null> {
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
