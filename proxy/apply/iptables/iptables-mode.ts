import type { Iptables } from "#linux/iptables.ts";
import { type IptablesBaseSettings, planIptablesBase } from "../../plan/iptables-base.ts";
import { type IptablesSettings, planIptablesRules } from "../../plan/iptables-rules.ts";
import { endpointAnswers } from "../../plan/stale-flows.ts";
import type { ProxyMode } from "../mode.ts";
import { RuleWriter } from "./rule-writer.ts";

/** Services as DNAT rules: packets never meet this process, and its restart is not noticed. */
export function iptablesMode(
  iptables: Iptables,
  settings: IptablesBaseSettings & IptablesSettings,
): ProxyMode {
  const writer = new RuleWriter(iptables, planIptablesBase(settings));
  return {
    name: "iptables",
    sync: (changes, node, signal) =>
      writer.write(
        new Map(
          [...changes].map(([key, port]) => [
            key,
            port === undefined ? undefined : planIptablesRules(port, node, settings),
          ]),
        ),
        signal,
      ),
    answers: endpointAnswers,
    missing: (signal) => writer.missing(signal),
    forget: () => writer.forget(),
    close: () => undefined,
  };
}
