import type { Iptables } from "#linux/iptables.ts";
import { type ChainPlan, renderChain } from "../plan/filter-rules.ts";

/** Puts back rules that are missing or changed. @returns how many chains were written. @throws {IptablesError} */
export async function syncChains(
  iptables: Iptables,
  plans: readonly ChainPlan[],
  signal: AbortSignal,
): Promise<number> {
  let written = 0;
  for (const plan of plans) {
    const from = (await iptables.listChain(plan.table, plan.from, signal)) ?? [];
    const chain = await iptables.listChain(plan.table, plan.chain, signal);
    const script = renderChain(plan, { from, chain });
    if (script === undefined) continue;
    await iptables.restore(script, signal);
    written += 1;
  }
  return written;
}
