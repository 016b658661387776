import manifest from "../package.json" with { type: "json" };

/** Keelson's own version. */
export const ownVersion: string = manifest.version;
