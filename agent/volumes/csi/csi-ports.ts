import type { Clock } from "#lib/clock.ts";
import type { ServiceAccountTokens } from "../service-account-tokens.ts";
import type { CsiDrivers } from "./csi-drivers.ts";
import type { CsiObjects } from "./csi-objects.ts";

/** What setting up CSI volumes stands on. */
export interface CsiPorts {
  readonly rootDir: string;
  readonly nodeName: string;
  readonly drivers: CsiDrivers;
  readonly objects: CsiObjects;
  readonly tokens: ServiceAccountTokens;
  readonly clock: Clock;
  /** The node's label of containers' files; undefined without SELinux. */
  readonly fileLabel?: string;
}
