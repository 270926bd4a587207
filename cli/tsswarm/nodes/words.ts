/** "ready" → "Ready". */
export const capital = (word: string): string => word.slice(0, 1).toUpperCase() + word.slice(1);

/** In the order that people count in: m2 before m10. */
export const byName = (a: string, b: string): number => a.localeCompare(b, 'en', { numeric: true });
