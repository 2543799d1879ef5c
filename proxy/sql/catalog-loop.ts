import { setTimeout as delay } from 'node:timers/promises';
import { CATALOG_PERIOD_MS, type LoadedCatalog } from './catalog.ts';

/**
 * Keeps a catalog fresh until the signal aborts; a failed refresh is told to `onError` and tried again a second later, or
 * at the next period if the catalog is loaded. Resolves, never rejects. For a change that the proxy itself saw, call
 * `invalidate` and `refresh` besides.
 */
export async function keepCatalog(
  catalog: LoadedCatalog,
  options: { readonly signal: AbortSignal; readonly onError: (error: unknown) => void; readonly periodMs?: number },
): Promise<void> {
  const { signal, onError, periodMs = CATALOG_PERIOD_MS } = options;
  while (!signal.aborted) {
    try {
      await catalog.refresh(signal);
    } catch (error) {
      if (!signal.aborted) onError(error);
    }
    await delay(catalog.loaded ? periodMs : Math.min(1000, periodMs), undefined, { signal }).catch(() => undefined);
  }
}
