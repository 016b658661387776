/** The name of a container's link among all logs, at most 251 characters. */
export function logLinkName(pod: string, namespace: string, container: string, id: string): string {
  return `${`${pod}_${namespace}_${container}`.slice(0, 251 - id.length - 5)}-${id}.log`;
}

/**
 * The count of restarts that follows the logs of a container: a runtime that has lost its records after a reboot
 * would begin anew at 0 and write into an old log.
 * @param names of the files in the container's log directory: `0.log`, `1.log.20260101-000000.gz`.
 */
export function attemptAfterLogs(names: readonly string[]): number {
  const numbers = names.flatMap((name) => {
    const [, number] = /^(\d+)\.log(?:\.|$)/.exec(name) ?? [];
    return number === undefined ? [] : [Number(number)];
  });
  return Math.max(-1, ...numbers.filter(Number.isSafeInteger)) + 1;
}
