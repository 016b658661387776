import type { ControllerRevision, PodTemplateSpec } from "#api/generated/kubernetes.ts";
import { keyOf, type KubeObject, type Resource } from "#api/meta.ts";
import { isReason } from "#api/status-error.ts";
import type { ControllerPorts } from "./controller.ts";
import { templateHash } from "./plan/deployment-replica-sets.ts";
import { revisionHashLabel } from "./plan/daemon-set.ts";
import { controllerOf, controllerReference } from "./plan/owners.ts";

/** Templates that a DaemonSet or StatefulSet has had, as the API keeps them. */
export const controllerRevisions: Resource<ControllerRevision> = {
  group: "apps",
  version: "v1",
  plural: "controllerrevisions",
  kind: "ControllerRevision",
  namespaced: true,
};

/** Keeps the history that `kubectl rollout history` and `undo` read. */
export interface Revisions {
  /** @returns the hash of the template, whose revision is now the newest. */
  keep(owner: KubeObject, template: PodTemplateSpec, signal: AbortSignal): Promise<string>;
  /** The template of the revision of this name; undefined when it is not kept. */
  template(owner: KubeObject, name: string): PodTemplateSpec | undefined;
  /** Deletes the oldest beyond `limit` that no pod uses. */
  prune(owner: KubeObject, limit: number, used: ReadonlySet<string>, signal: AbortSignal): Promise<void>;
}

/** The history of the objects of one kind. */
export function revisionsOf<T extends KubeObject>(resource: Resource<T>, ports: ControllerPorts): Revisions {
  const { client, tables } = ports;
  const table = tables.of(controllerRevisions);
  const byOwner = table.index("by-controller", (revision) => {
    const owner = controllerOf(revision);
    return owner === undefined ? [] : [owner.uid];
  });
  return {
    keep: async (owner, template, signal) => {
      const hash = templateHash(template, 0);
      const { name = "", namespace = "", uid = "" } = owner.metadata ?? {};
      const all = byOwner.of(uid);
      const newest = Math.max(0, ...all.map(({ revision }) => revision));
      const known = all.find(({ metadata }) => metadata?.name === `${name}-${hash}`);
      if (known === undefined) {
        const metadata = {
          name: `${name}-${hash}`,
          namespace,
          labels: { ...template.metadata?.labels, [revisionHashLabel]: hash },
          ownerReferences: [controllerReference(resource, owner)],
        };
        const data = { spec: { template: { ...template, $patch: "replace" } } };
        const revision = { metadata, data, revision: newest + 1 };
        table.wrote(await client.create(controllerRevisions, revision, {}, signal));
      } else if (known.revision < newest) {
        const next = { ...known, revision: newest + 1 };
        table.wrote(await client.update(controllerRevisions, next, {}, signal));
      }
      return hash;
    },
    template: (owner, name) => {
      const all = byOwner.of(owner.metadata?.uid ?? "");
      return templateIn(all.find(({ metadata }) => metadata?.name === name)?.data);
    },
    prune: async (owner, limit, used, signal) => {
      const all = byOwner.of(owner.metadata?.uid ?? "").toSorted((a, b) => a.revision - b.revision);
      const unused = all
        .slice(0, -1)
        .filter(({ metadata }) => !used.has(metadata?.labels?.[revisionHashLabel] ?? ""));
      for (const revision of unused.slice(0, Math.max(0, unused.length - limit))) {
        try {
          await client.delete(controllerRevisions, keyOf(revision), {}, signal);
        } catch (cause) {
          if (!isReason(cause, "NotFound")) throw cause;
        }
        table.deleting(revision);
      }
    },
  };
}

/** Reads back what `keep` wrote; undefined for data of another shape. */
function templateIn(data: unknown): PodTemplateSpec | undefined {
  if (typeof data !== "object" || data === null || !("spec" in data)) return undefined;
  const { spec } = data;
  if (typeof spec !== "object" || spec === null || !("template" in spec)) return undefined;
  const { $patch: _, ...template } = spec.template as PodTemplateSpec & { readonly $patch?: string };
  return template;
}
