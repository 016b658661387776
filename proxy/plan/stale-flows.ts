import { hostPort, type NodeFacts, type ServicePort } from "../model.ts";
import { chooseEndpoints } from "./endpoints.ts";

/** Virtual `address:port` -> who may answer for it. */
export type ValidAnswers = ReadonlyMap<string, ReadonlySet<string>>;

/**
 * For the UDP ports that changed: who may answer now. A flow to one of these addresses that somebody else answers
 * is stale: the kernel would go on sending there as long as the client talks.
 * @param answersOf `address:port` of everybody who may answer for a port.
 * @param localIps addresses of the node: a NodePort is only that on one of these, and a flow of a Pod to the same
 *   port number somewhere outside is none of our business.
 */
export function planValidAnswers(
  changes: Iterable<{ readonly before: ServicePort | undefined; readonly after: ServicePort | undefined }>,
  answersOf: (port: ServicePort) => readonly string[],
  localIps: readonly string[],
): ValidAnswers {
  const valid = new Map<string, Set<string>>();
  for (const { before, after } of changes) {
    const answers = after === undefined ? [] : answersOf(after);
    for (const port of [before, after]) {
      if (port?.protocol !== "udp") continue;
      for (const address of addressesOf(port, localIps)) {
        const known = valid.get(address) ?? new Set<string>();
        for (const answer of answers) known.add(answer);
        valid.set(address, known);
      }
    }
  }
  return valid;
}

/** True when the flow is to an address of ours and what answers it is no endpoint of that. */
export function isStale(
  flow: {
    readonly to: string;
    readonly toPort: number;
    readonly answers: string;
    readonly answersPort: number;
  },
  valid: ValidAnswers,
): boolean {
  const answers = valid.get(hostPort(flow.to, flow.toPort));
  return answers !== undefined && !answers.has(hostPort(flow.answers, flow.answersPort));
}

/**
 * Who may answer where rules translate to the endpoint itself: those chosen for this node, and every one that
 * serves, for an endpoint that serves while it terminates keeps the flows it has.
 */
export function endpointAnswers(port: ServicePort, node: NodeFacts): readonly string[] {
  const serving = port.endpoints.filter((endpoint) => endpoint.serving);
  return [...chooseEndpoints(port, node).reachable, ...serving].map(({ ip, port: number }) =>
    hostPort(ip, number),
  );
}

function addressesOf(port: ServicePort, localIps: readonly string[]): string[] {
  const ips = [port.clusterIp, ...port.externalIps, ...port.loadBalancerIps];
  const nodePorts = port.nodePort === 0 ? [] : localIps.map((ip) => hostPort(ip, port.nodePort));
  return [...ips.map((ip) => hostPort(ip, port.port)), ...nodePorts];
}
