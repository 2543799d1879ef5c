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
    return item.type !== 'execute' || item.portal !== '' || bound;
  });
}
