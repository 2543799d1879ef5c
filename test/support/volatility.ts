import type { VolatilityCatalog } from '../../proxy/sql/types.ts';

/** `writer` is volatile in schema app, `reader` stable; the view `logged`, the operator @@@ and the cast to `odd` reach `writer`. */
export const someCatalog: VolatilityCatalog = {
  version: 1,
  volatilityOf(schema, name) {
    if (name === 'reader' && schema !== 'pg_catalog') return 'stable';
    return name === 'writer' && (schema === null || schema === 'app') ? 'volatile' : 'unknown';
  },
  isVolatile(kind, _schema, name) {
    return (
      (kind === 'relation' && name === 'logged') ||
      (kind === 'operator' && name === '@@@') ||
      (kind === 'type' && name === 'odd') ||
      (kind === 'attribute' && name === 'writer')
    );
  },
};

/** A catalog that has not been read yet. */
export const unreadCatalog: VolatilityCatalog = { version: 0, volatilityOf: () => 'unknown', isVolatile: () => false };
