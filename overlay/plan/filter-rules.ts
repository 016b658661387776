/** Rules of one chain of ours, and the rule of a built-in chain that leads to it; as `iptables -S` prints them. */
export interface ChainPlan {
  readonly table: "nat" | "filter";
  readonly from: "POSTROUTING" | "FORWARD";
  readonly chain: string;
  readonly entry: string;
  readonly rules: readonly string[];
}

/**
 * Rewrites the source of what leaves the network, and of what enters it from this node.
 * @param randomFully spreads the source ports, so that two flows do not race for one.
 */
export function masqueradePlan(network: string, subnet: string, randomFully: boolean): ChainPlan {
  const comment = `-m comment --comment "flanneld masq"`;
  const masquerade = `-j MASQUERADE${randomFully ? " --random-fully" : ""}`;
  return {
    table: "nat",
    from: "POSTROUTING",
    chain: "FLANNEL-POSTRTG",
    entry: `${comment} -j FLANNEL-POSTRTG`,
    rules: [
      // Marked by the service proxy, which rewrites the source itself.
      `-m mark --mark 0x4000/0x4000 ${comment} -j RETURN`,
      `-s ${subnet} -d ${network} ${comment} -j RETURN`,
      `-s ${network} -d ${subnet} ${comment} -j RETURN`,
      // A client outside the cluster keeps its address on the way to a Pod of ours.
      `! -s ${network} -d ${subnet} ${comment} -j RETURN`,
      `-s ${network} ! -d 224.0.0.0/4 ${comment} ${masquerade}`,
      `! -s ${network} -d ${network} ${comment} ${masquerade}`,
    ],
  };
}

/** Lets the network's packets pass where another program (Docker) made the default DROP. */
export function forwardPlan(network: string): ChainPlan {
  const comment = `-m comment --comment "flanneld forward"`;
  return {
    table: "filter",
    from: "FORWARD",
    chain: "FLANNEL-FWD",
    entry: `${comment} -j FLANNEL-FWD`,
    rules: [`-s ${network} ${comment} -j ACCEPT`, `-d ${network} ${comment} -j ACCEPT`],
  };
}

/**
 * The script for `iptables-restore --noflush` that leads from what is there to the plan; undefined when it is there.
 * @param present rules of the built-in chain and of ours; undefined for a chain that is missing.
 */
export function renderChain(
  plan: ChainPlan,
  present: { readonly from: readonly string[]; readonly chain: readonly string[] | undefined },
): string | undefined {
  const hasEntry = present.from.includes(plan.entry);
  const same =
    present.chain?.length === plan.rules.length && plan.rules.every((rule, i) => present.chain?.[i] === rule);
  if (hasEntry && same) return undefined;
  return [
    `*${plan.table}`,
    `:${plan.chain} - [0:0]`, // made when missing, emptied when not
    ...plan.rules.map((rule) => `-A ${plan.chain} ${rule}`),
    ...(hasEntry ? [] : [`-A ${plan.from} ${plan.entry}`]),
    "COMMIT",
    "",
  ].join("\n");
}
