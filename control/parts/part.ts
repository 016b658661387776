import type { ApiClient } from "#api/client.ts";
import type { Clock } from "#lib/clock.ts";
import type { Log } from "#lib/log.ts";
import type { Task } from "#lib/together.ts";
import type { ControlConfig } from "../config.ts";
import type { Tables } from "../controllers/tables.ts";
import type { Pki } from "../pki/pki.ts";
import type { Settings } from "../settings.ts";

/** What every part of the control plane is made with. */
export interface PartPorts {
  readonly config: ControlConfig;
  readonly settings: Settings;
  readonly pki: Pki;
  /** One watch a resource, whoever reads it. */
  readonly tables: Tables;
  /** A client that asks under a name of its own. */
  readonly clientOf: (name: string) => ApiClient;
  readonly clock: Clock;
  readonly log: Log;
  /** In [0, 1). */
  readonly random: () => number;
  readonly metrics: () => Promise<string>;
}

/** One part: it runs until its signal is aborted, and says how it is. */
export interface Part {
  readonly run: Task;
  /** Undefined when well, else why not. */
  readonly check: () => string | undefined;
}
