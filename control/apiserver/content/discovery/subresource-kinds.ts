import type { ResourceDefinition, Subresource, Verb } from "../../../model.ts";

/** What a subresource speaks: its own group-version-kind and verbs. */
export interface SubresourceKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly verbs: readonly Verb[];
  /** True where discovery names group and version, because they are not the parent's. */
  readonly foreign: boolean;
}

const readWrite: readonly Verb[] = ["get", "patch", "update"];
const connect: readonly Verb[] = ["create", "get"];

/** The kind a subresource answers with; most speak the parent's. */
export function subresourceKind(parent: ResourceDefinition, subresource: Subresource): SubresourceKind {
  const own = (kind: string, verbs: readonly Verb[]): SubresourceKind => ({
    group: parent.group,
    version: parent.version,
    kind,
    verbs,
    foreign: false,
  });
  const foreign = (
    group: string,
    version: string,
    kind: string,
    verbs: readonly Verb[],
  ): SubresourceKind => ({
    group,
    version,
    kind,
    verbs,
    foreign: true,
  });
  switch (subresource) {
    case "status":
    case "approval":
    case "ephemeralcontainers":
    case "resize":
      return own(parent.kind, readWrite);
    case "finalize":
      return own(parent.kind, ["update"]);
    case "log":
      return own(parent.kind, ["get"]);
    case "exec":
      return own("PodExecOptions", connect);
    case "attach":
      return own("PodAttachOptions", connect);
    case "portforward":
      return own("PodPortForwardOptions", connect);
    case "proxy":
      return own(`${parent.kind}ProxyOptions`, ["create", "delete", "get", "patch", "update"]);
    case "binding":
      return own("Binding", ["create"]);
    case "scale":
      return foreign("autoscaling", "v1", "Scale", readWrite);
    case "eviction":
      return foreign("policy", "v1", "Eviction", ["create"]);
    case "token":
      return foreign("authentication.k8s.io", "v1", "TokenRequest", ["create"]);
    default:
      return subresource satisfies never;
  }
}
