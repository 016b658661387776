/** What the API server and the node report. The client's types and field tables are of this version. */
export const kubernetesVersion = "v1.36.0+keelson";
