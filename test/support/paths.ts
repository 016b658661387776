import path from "node:path";

/** The checkout. */
export const root: string = path.join(import.meta.dirname, "../..");

/** Built things that tests keep between runs: images, compile cache. */
export const cache: string = path.join(root, ".cache");
