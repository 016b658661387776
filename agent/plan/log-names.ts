/** The name of a container's link among all logs, at most 251 characters. */
export function logLinkName(pod: string, namespace: string, container: string, id: string): string {
  return `${`${pod}_${namespace}_${container}`.slice(0, 251 - id.length - 5)}-${id}.log`;
}
