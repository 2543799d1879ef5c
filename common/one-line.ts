const MAX_LENGTH = 200;

/**
 * What somebody wrote, for a line of a terminal, a log or the history: at most 200 of UTF-16's units, and none that a terminal obeys (control
 * characters, line ends, marks that turn the direction of text).
 */
export function oneLine(text: string): string {
  const shown = text.replaceAll(/[\p{C}\p{Z}]+/gu, ' ').trim();
  return shown.slice(0, MAX_LENGTH).toWellFormed(); // the cut may go through a character
}
