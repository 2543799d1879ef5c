import type { Item } from './messages.ts';

/**
 * PostgreSQL 15 may crash when the unnamed portal is executed that a failed simple Query left in a failed transaction. What could
 * do that is left out: an Execute of the unnamed portal with no Bind of it between the last Sync or Query and itself.
 */
export function withoutCrash(items: readonly Item[]): Item[] {
  let bound = false;
  return items.filter((item) => {
    if (item.type === 'sync' || item.type === 'query') bound = false;
    if (item.type === 'bind' && item.portal === '') bound = true;
    // The proxy answers BEGIN itself: a description of its portal in a later sequence is nothing that any driver asks for.
    if (item.type === 'describe' && item.kind === 'P' && item.name === '') return bound;
    return item.type !== 'execute' || item.portal !== '' || bound;
  });
}
