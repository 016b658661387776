import type { NodeFacts, ServicePort } from "../model.ts";
import type { WriteReport } from "./iptables/rule-writer.ts";

/** How Services become reality on the node. */
export interface ProxyMode {
  readonly name: "iptables" | "userspace";
  /**
   * @param changes port key -> the port as it is now; undefined when it is gone. Ports not named stay.
   * @throws when it could not be done; the same changes are given again.
   */
  sync(
    changes: ReadonlyMap<string, ServicePort | undefined>,
    node: NodeFacts,
    signal: AbortSignal,
  ): Promise<WriteReport>;
  /** `address:port` of everybody who may answer a flow to this port now; what others answer is stale. */
  answers(port: ServicePort, node: NodeFacts): readonly string[];
  /** What of ours another program took away, in words; undefined when all is there. */
  missing(signal: AbortSignal): Promise<string | undefined>;
  /** The next sync writes everything. */
  forget(): void;
  /** Lets go of sockets. Rules stay: they serve while the proxy is restarted. */
  close(): void;
}
