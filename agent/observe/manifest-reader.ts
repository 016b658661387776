/**
 * What reads a manifest. Loaded when there is one: the schema that its fields are checked against is the largest thing
 * a node would load, and most nodes have no static Pods.
 */
export async function manifestReader(): Promise<
  Pick<typeof import("yaml"), "parse"> &
    Pick<typeof import("../plan/static-pod.ts"), "manifestsOf" | "staticPod">
> {
  const [{ parse }, { manifestsOf, staticPod }] = await Promise.all([
    import("yaml"),
    import("../plan/static-pod.ts"),
  ]);
  return { parse, manifestsOf, staticPod };
}
