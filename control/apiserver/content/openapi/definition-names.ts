import type { ResourceDefinition } from "../../../model.ts";
import { modelOf, modelUnder } from "#api/schema.ts";

/** Types that every group shares. */
const shared: ReadonlySet<string> = new Set([
  "ObjectMeta",
  "ListMeta",
  "OwnerReference",
  "ManagedFieldsEntry",
  "LabelSelector",
  "LabelSelectorRequirement",
  "Condition",
  "Status",
  "StatusCause",
  "StatusDetails",
  "DeleteOptions",
  "Preconditions",
  "FieldSelectorRequirement",
]);

/** Models that are served though no resource of their own is in the table. */
export const extraKinds: readonly {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly model: string;
}[] = [
  { group: "autoscaling", version: "v1", kind: "Scale", model: "Scale" },
  { group: "policy", version: "v1", kind: "Eviction", model: "Eviction" },
  {
    group: "authentication.k8s.io",
    version: "v1",
    kind: "TokenRequest",
    model: "AuthenticationV1TokenRequest",
  },
  { group: "", version: "v1", kind: "Status", model: "Status" },
  { group: "", version: "v1", kind: "DeleteOptions", model: "DeleteOptions" },
];

/** The model of a kind's list, where the schema has one. */
export function listModel(of: ResourceDefinition): string | undefined {
  const name = `${of.model}List`;
  return modelOf(name) === undefined ? undefined : name;
}

/**
 * Model -> name of its definition, `io.k8s.api.apps.v1.Deployment`, for everything that the resources reach.
 * A model belongs to the first group that reaches it, core first: that is where Kubernetes declares it.
 */
export function definitionNames(resources: readonly ResourceDefinition[]): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  const roots = [
    ...resources.map((each) => ({ group: each.group, version: each.version, model: each.model })),
    ...resources.flatMap((each) => {
      const model = listModel(each);
      return model === undefined ? [] : [{ group: each.group, version: each.version, model }];
    }),
    ...extraKinds,
  ];
  for (const { group, version, model } of roots) {
    const open = [model];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      const found = names.has(next) ? undefined : modelOf(next);
      if (found === undefined) continue;
      names.set(next, definitionName(group, version, next));
      for (const field of found.fields.values()) {
        const inner = modelUnder(field.type);
        if (inner !== undefined) open.push(inner);
      }
    }
  }
  return names;
}

function definitionName(group: string, version: string, model: string): string {
  if (shared.has(model)) return `io.k8s.apimachinery.pkg.apis.meta.v1.${model}`;
  const bare = model.replace(/^(?:[A-Z][a-z]+)?V\d+(?=[A-Z])/, "");
  return `io.k8s.api.${group === "" ? "core" : (group.split(".")[0] ?? group)}.${version}.${bare}`;
}
