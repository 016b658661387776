import manifest from "../package.json" with { type: "json" };

/** Keelson's own version. */
export const ownVersion: string = manifest.version;

/** What the API server and the node report. The client libraries and field tables are of this version. */
export const kubernetesVersion = "v1.36.0+keelson";
