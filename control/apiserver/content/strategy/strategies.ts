import type { Strategy } from "../../../model.ts";
import { genericStrategy, type KindTraits } from "./generic.ts";

/** The strategy of a kind: its own where it needs one, else the generic one. */
export function strategyOf(traits: KindTraits): Strategy {
  return genericStrategy(traits, {});
}
