/**
 * What reads a manifest. Loaded when there is one: the schema that its fields are checked against is the largest thing
 * a node would load, and most nodes have no static Pods.
 */
export async function loadManifests(): Promise<typeof import("./manifests.ts")> {
  return await import("./manifests.ts");
}
