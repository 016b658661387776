/**
 * What others wrote (a probe's answer, a runtime's error) as a part of one line: it may hold line breaks, colours, or
 * have no end.
 * @param maxLength letters that are kept.
 */
export function oneLine(text: string, maxLength: number): string {
  const line = text.replace(/[\s\p{Cc}]+/gu, " ").trim();
  return line.length > maxLength ? `${line.slice(0, maxLength)}...` : line;
}
